# The store: Memorystore for Valkey, unless redis_url names another one. Valkey speaks Redis' protocol. The
# relay writes several keys at once, so cluster mode is off.

locals {
  makes_store = var.redis_url == null
  endpoints = local.makes_store ? flatten([
    for endpoint in google_memorystore_instance.this[0].endpoints : [
      for connection in endpoint.connections : connection.psc_auto_connection
    ]
  ]) : []
  # Beside the primary there is an endpoint of the replicas, which refuses writes.
  primary = [for endpoint in local.endpoints : endpoint if endpoint.connection_type != "CONNECTION_TYPE_READER"]
  store   = local.makes_store ? "redis://${local.primary[0].ip_address}:${local.primary[0].port}/0" : var.redis_url
}

# Lets Memorystore place its endpoints into the subnetwork. A network has at most one such policy in a region.
resource "google_network_connectivity_service_connection_policy" "memorystore" {
  count = local.makes_store && var.create_connection_policy ? 1 : 0

  project       = var.project_id
  name          = "${var.name}-memorystore"
  location      = var.region
  service_class = "gcp-memorystore"
  network       = var.network
  psc_config {
    subnetworks = [var.subnetwork]
  }
}

resource "google_memorystore_instance" "this" {
  count = local.makes_store ? 1 : 0

  project                     = var.project_id
  instance_id                 = var.name
  location                    = var.region
  mode                        = "CLUSTER_DISABLED"
  shard_count                 = 1
  replica_count               = var.store_replicas
  node_type                   = var.store_node_type
  deletion_protection_enabled = var.deletion_protection
  # Callers are limited by the network: only its own machines reach the endpoint.
  authorization_mode      = "AUTH_DISABLED"
  transit_encryption_mode = "TRANSIT_ENCRYPTION_DISABLED"

  # An evicted dead letter is a lost event.
  engine_configs = {
    "maxmemory-policy" = "noeviction"
  }

  # The losses that each setting allows: docs/deploy-cloud-run.md#what-the-store-can-lose
  persistence_config {
    mode = "AOF"
    aof_config {
      append_fsync = var.store_append_fsync
    }
  }

  automated_backup_config {
    retention = "604800s"
    fixed_frequency_schedule {
      start_time {
        hours = 2
      }
    }
  }

  zone_distribution_config {
    mode = "MULTI_ZONE"
  }

  desired_auto_created_endpoints {
    network    = var.network
    project_id = var.project_id
  }

  depends_on = [google_network_connectivity_service_connection_policy.memorystore]
}
