# Where Pub/Sub pushes to.
output "push_endpoint" {
  value = "${google_cloud_run_v2_service.this["relay"].uri}/notifications"
}

# For `gcloud run services proxy`.
output "operator_service" {
  value = google_cloud_run_v2_service.this["operator"].name
}

# Its short name, as `traffic` takes it.
output "latest_revision" {
  value = basename(google_cloud_run_v2_service.this["relay"].latest_ready_revision)
}
