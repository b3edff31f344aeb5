# The relay on Cloud Run: the image of `make image`, twice, on one store (../store, or another Redis).
#
# - `relay` takes Pub/Sub's pushes. It has no operator's routes, and can't be reached from the internet: pushes
#   of the same project count as internal. If Svix reports to it (svix_webhook_secret), it must be reachable.
# - `operator` is for people and jobs. Google checks who calls (IAM), then the relay checks the operator's token.
#   It sleeps while it isn't used.
#
# Terraform reads no secret: it names those that docs/deploy-cloud-run.md creates.

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
  operator = "${var.name}-operator"

  services = {
    relay = {
      name          = var.name
      ingress       = local.is_reported_to ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
      secrets       = merge({ SPIN_VARIABLE_SVIX_TOKEN = local.svix_token }, local.webhook_secret)
      min_instances = var.min_instances
      max_instances = var.max_instances
    }
    operator = {
      name    = local.operator
      ingress = "INGRESS_TRAFFIC_ALL"
      secrets = merge({
        SPIN_VARIABLE_SVIX_TOKEN  = local.svix_token
        SPIN_VARIABLE_ADMIN_TOKEN = local.admin_token
      }, local.webhook_secret)
      min_instances = 0
      max_instances = 2
    }
  }
  is_reported_to = var.svix_webhook_secret != null
  # Without it, the operators' service shows no endpoints, since it doesn't expect reports.
  webhook_secret = local.is_reported_to ? { SPIN_VARIABLE_SVIX_WEBHOOK_SECRET = { secret = var.svix_webhook_secret, version = "latest" } } : {}
  svix_token     = { secret = var.svix_token_secret, version = var.svix_token_version }
  admin_token    = { secret = var.admin_token_secret, version = var.admin_token_version }

  # Each secret is a file /secrets/NAME/file, which `serve` reads anew for each connection.
  redis_files = { for name, secret in var.redis_files : name => secret if secret != null }

  environment = merge({
    SERVE_KEY_VALUE                      = var.redis_url
    SPIN_VARIABLE_INGEST_AUTH            = "pubsub"
    SPIN_VARIABLE_PUBSUB_AUDIENCE        = var.pubsub_audience
    SPIN_VARIABLE_PUBSUB_SERVICE_ACCOUNT = var.pubsub_service_account
    SPIN_VARIABLE_PUBSUB_RETENTION_DAYS  = "31"
    SPIN_VARIABLE_RECORD_RETENTION_DAYS  = "40"
    SPIN_VARIABLE_EVENT_TYPES            = var.event_types
    SPIN_VARIABLE_KEY_PREFIX             = var.key_prefix
    SPIN_VARIABLE_CANARY_PROJECT         = var.canary_project
    },
    { for name in keys(local.redis_files) : "SERVE_REDIS_${upper(name)}_FILE" => "/secrets/${name}/file" },
    { for name, value in var.variables : "SPIN_VARIABLE_${upper(name)}" => value },
  )
}

resource "google_service_account" "this" {
  for_each = local.services

  project      = var.project_id
  account_id   = each.value.name
  display_name = each.value.name
}

resource "google_secret_manager_secret_iam_member" "services" {
  for_each = merge({
    relay_svix     = { service = "relay", secret = var.svix_token_secret }
    operator_svix  = { service = "operator", secret = var.svix_token_secret }
    operator_admin = { service = "operator", secret = var.admin_token_secret }
    },
    local.is_reported_to ? { for service in keys(local.services) : "${service}_webhook" => { service = service, secret = var.svix_webhook_secret } } : {},
    merge([
      for service in keys(local.services) : {
        for name, secret in local.redis_files : "${service}_redis_${name}" => { service = service, secret = secret }
      }
    ]...),
  )

  project   = var.project_id
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this[each.value.service].member

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_cloud_run_v2_service" "this" {
  for_each = local.services

  project             = var.project_id
  location            = var.region
  name                = each.value.name
  ingress             = each.value.ingress
  deletion_protection = var.deletion_protection

  # After its own check, Cloud Run removes the signature from the token of a push, so the relay couldn't check
  # it. The relay therefore checks alone, as on every other host.
  invoker_iam_disabled = each.key == "relay"

  template {
    service_account       = google_service_account.this[each.key].email
    execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
    # Longer than the relay's longest answer, and than one request of the audit.
    timeout = "30s"

    # While Svix hangs, an event stays for up to 9.5 s: at 50 events a second and instance, 475 at once. Each
    # takes 87 kB, and large bodies 32 MiB in all (docs/benchmark.md), so the default of 500 fits into the memory below.
    max_instance_request_concurrency = var.max_instance_request_concurrency

    scaling {
      min_instance_count = each.value.min_instances
      max_instance_count = each.value.max_instances
    }

    vpc_access {
      # Only the store is in the network; Svix and Google's keys are reached directly.
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }

    dynamic "volumes" {
      for_each = local.redis_files
      content {
        name = "redis-${volumes.key}"
        secret {
          secret = volumes.value
          items {
            path = "file"
            # Read by each open of the file. With a number, a pinned revision would keep an old authority.
            version = "latest"
          }
        }
      }
    }

    containers {
      image = var.image

      dynamic "volume_mounts" {
        for_each = local.redis_files
        content {
          name       = "redis-${volume_mounts.key}"
          mount_path = "/secrets/${volume_mounts.key}"
        }
      }

      ports {
        container_port = 8080
      }

      resources {
        limits = {
          cpu    = "1"
          memory = "512Mi"
        }
        # The relay writes its journal and its counts in the two seconds after a reply. With a CPU only during
        # requests, the next request would wait for that, and an instance could end before it.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      # Neither probe asks the store or Svix: a restart mends neither, and without them events are answered 503
      # and come again.
      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 20
        http_get {
          path = "/healthz"
        }
      }
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 3
        failure_threshold = 3
        http_get {
          path = "/healthz"
        }
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = each.value.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret
              version = env.value.version
            }
          }
        }
      }
    }
  }

  # Names of revisions make a canary and a roll-back possible: docs/deploy-cloud-run.md.
  dynamic "traffic" {
    for_each = each.key == "relay" ? var.traffic : []
    content {
      type     = traffic.value.revision == null ? "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST" : "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
      revision = traffic.value.revision
      percent  = traffic.value.percent
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.services]
}

resource "google_cloud_run_v2_service_iam_member" "operators" {
  for_each = merge(
    { for member in var.operators : member => member },
    { jobs = google_service_account.jobs.member },
  )

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.this["operator"].name
  role     = "roles/run.invoker"
  member   = each.value
}

# `gcloud run services proxy` reads the service before it calls it, and the runbook reads the log.
resource "google_project_iam_member" "operators" {
  for_each = { for pair in setproduct(["roles/run.viewer", "roles/logging.viewer"], var.operators) : join(" ", pair) => pair }

  project = var.project_id
  role    = each.value[0]
  member  = each.value[1]
}
