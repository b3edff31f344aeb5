# The store of the relay, wherever that runs: Memorystore for Valkey, which speaks Redis' protocol. The relay
# writes several keys at once, so cluster mode is off.

terraform {
  required_version = ">= 1.9"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

locals {
  endpoints = flatten([
    for endpoint in google_memorystore_instance.this.endpoints : [
      for connection in endpoint.connections : connection.psc_auto_connection
    ]
  ])
  # Beside the primary there is an endpoint of the replicas, which refuses writes.
  primary = [for endpoint in local.endpoints : endpoint if endpoint.connection_type != "CONNECTION_TYPE_READER"]
}

# Lets Memorystore place its endpoints into the subnetwork. A network has at most one such policy in a region.
resource "google_network_connectivity_service_connection_policy" "memorystore" {
  count = var.create_connection_policy ? 1 : 0

  project       = var.project_id
  name          = "svix-relay-memorystore"
  location      = var.region
  service_class = "gcp-memorystore"
  network       = var.network
  psc_config {
    subnetworks = [var.subnetwork]
  }
}

resource "google_memorystore_instance" "this" {
  project                     = var.project_id
  instance_id                 = var.name
  location                    = var.region
  mode                        = "CLUSTER_DISABLED"
  shard_count                 = 1
  replica_count               = var.replicas
  node_type                   = var.node_type
  deletion_protection_enabled = var.deletion_protection
  # The network limits the callers: only its own machines reach the endpoint. Memorystore's other mode wants an
  # access token that is valid for an hour, and neither `serve` nor Spin renews one.
  authorization_mode      = "AUTH_DISABLED"
  transit_encryption_mode = var.tls ? "SERVER_AUTHENTICATION" : "TRANSIT_ENCRYPTION_DISABLED"

  # An evicted dead letter is a lost event.
  engine_configs = {
    "maxmemory-policy" = "noeviction"
  }

  # The losses that each setting allows: docs/operating.md#what-the-store-can-lose
  persistence_config {
    mode = "AOF"
    aof_config {
      append_fsync = var.append_fsync
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

  dynamic "managed_backup_source" {
    for_each = var.backup == null ? [] : [var.backup]
    content {
      backup = managed_backup_source.value
    }
  }

  zone_distribution_config {
    mode = "MULTI_ZONE"
  }

  desired_auto_created_endpoints {
    network    = var.network
    project_id = var.project_id
  }

  lifecycle {
    # A replacement would lose the data. So it needs another name, and the old store stays until the relay uses the new one.
    create_before_destroy = true
    # Only the creation reads the backup, so later runs may leave it out.
    ignore_changes = [managed_backup_source]
  }

  depends_on = [google_network_connectivity_service_connection_policy.memorystore]
}

# The certificates that sign the store's. They are public; Cloud Run mounts files from secrets only.
resource "google_secret_manager_secret" "ca" {
  count = var.tls ? 1 : 0

  project   = var.project_id
  secret_id = "${var.name}-ca"
  replication {
    auto {}
  }

  # Until a new store has taken over, the relay reads the old one's.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_version" "ca" {
  count = var.tls ? 1 : 0

  secret      = google_secret_manager_secret.ca[0].id
  secret_data = join("\n", flatten(google_memorystore_instance.this.managed_server_ca[*].ca_certs[*].certificates))

  lifecycle {
    create_before_destroy = true
  }
}

# Without room, every write fails and every event is answered 503. Records grow by 380 bytes for each event.
resource "google_monitoring_alert_policy" "memory" {
  project               = var.project_id
  display_name          = "${var.name}: the store is nearly full"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "above 80 %"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"memorystore.googleapis.com/Instance\"",
        "resource.labels.instance_id = \"${google_memorystore_instance.this.instance_id}\"",
        "metric.type = \"memorystore.googleapis.com/instance/memory/maximum_utilization\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0.8
      duration        = "600s"
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#store-failing"
  }
}
