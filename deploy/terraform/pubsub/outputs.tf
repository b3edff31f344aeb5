# The relay's variables of the same names, for ingest_auth=pubsub.
output "pubsub_audience" {
  value = local.audience
}

output "pubsub_service_account" {
  value = google_service_account.push.email
}

# For the runbook's commands.
output "push_endpoint" {
  value = var.push_endpoint
}

output "subscription" {
  value = google_pubsub_subscription.relay.id
}

output "dead_letter_subscription" {
  value = google_pubsub_subscription.dead_letter.id
}
