# The jobs of deploy/spinkube on Cloud Run: a schedule starts a container that posts to one of the operator's
# routes until its answer doesn't say that more is due.

# Cloud Scheduler can't post to the relay itself. Its own token takes the header Authorization, which the relay
# needs for the operator's. Any other header would put that token into the schedule and into Terraform's state.

locals {
  jobs = merge({
    purge = { schedule = "17 * * * *", minutes = 60, retries = 0, severity = "WARNING", section = "old-records" }
    audit = { schedule = "37 * * * *", minutes = 60, retries = 0, severity = "WARNING", section = "the-audit-stands-still" }
    }, var.canary_project == "" ? {} : {
    canary = {
      schedule = var.canary_minutes == 60 ? "7 * * * *" : "*/${var.canary_minutes} * * * *"
      minutes  = var.canary_minutes
      retries  = 0
      severity = "CRITICAL"
      section  = "no-canary"
    }
  })
}

# The identity of the jobs, and of the schedule that starts them.
resource "google_service_account" "jobs" {
  project      = var.project_id
  account_id   = "${var.name}-jobs"
  display_name = "Jobs of ${var.name}"
}

resource "google_secret_manager_secret_iam_member" "jobs" {
  project   = var.project_id
  secret_id = var.jobs_token_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.jobs.member
}

resource "google_cloud_run_v2_job" "this" {
  for_each = local.jobs

  project             = var.project_id
  location            = var.region
  name                = "${var.name}-${each.key}"
  deletion_protection = false

  template {
    template {
      service_account = google_service_account.jobs.email
      max_retries     = each.value.retries
      # Below the schedule's hour: two purges must not run at once. The next hour goes on where this one ends.
      timeout = "3300s"

      containers {
        image   = var.curl_image
        command = ["sh", "-euc"]
        args    = [file("${path.module}/job.sh")]

        resources {
          limits = {
            cpu    = "1"
            memory = "512Mi"
          }
        }
        env {
          name  = "RELAY"
          value = google_cloud_run_v2_service.this["operator"].uri
        }
        env {
          name  = "ROUTE"
          value = "/maintenance/${each.key}"
        }
        env {
          name = "JOBS_TOKEN"
          value_source {
            secret_key_ref {
              secret  = var.jobs_token_secret
              version = "latest"
            }
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.jobs]
}

resource "google_cloud_run_v2_job_iam_member" "schedule" {
  for_each = local.jobs

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.this[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.jobs.member
}

resource "google_cloud_run_v2_job_iam_member" "operators" {
  for_each = { for pair in setproduct(keys(local.jobs), var.operators) : join(" ", pair) => pair }

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_job.this[each.value[0]].name
  role     = "roles/run.invoker"
  member   = each.value[1]
}

resource "google_cloud_scheduler_job" "this" {
  for_each = local.jobs

  project     = var.project_id
  region      = var.region
  name        = "${var.name}-${each.key}"
  description = "Starts the job of the same name"
  schedule    = each.value.schedule
  time_zone   = "Etc/UTC"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.this[each.key].id}:run"
    oauth_token {
      service_account_email = google_service_account.jobs.email
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.schedule]
}
