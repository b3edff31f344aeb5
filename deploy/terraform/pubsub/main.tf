# Pub/Sub's side of the relay, wherever that runs: a push subscription that proves its identity, and a topic
# for events that can't be delivered. The platform owns the topic of the events.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

data "google_project" "this" {
  project_id = var.project_id
}

locals {
  audience = coalesce(var.audience, var.push_endpoint)
  # Google's own account for Pub/Sub, one in each project.
  service_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# The pushes come from this account: the relay lets in its tokens with the relay's audience. The account
# needs no role anywhere. To apply this, an operator needs iam.serviceAccounts.actAs on it.
resource "google_service_account" "push" {
  project      = var.project_id
  account_id   = "${var.name}-push"
  display_name = "Pub/Sub's pushes to ${var.name}"
}

resource "google_service_account_iam_member" "agent_mints_tokens" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.service_agent
}

resource "google_pubsub_subscription" "relay" {
  project = var.project_id
  name    = var.name
  topic   = var.topic

  # The relay's longest answer takes retry_budget_ms (8 s) and 1.5 s for the record. Of Pub/Sub's
  # default, 10 s, half a second is left for the network. A late answer means a second delivery, which is
  # harmless but not free. 20 s costs nothing: a refusal brings the event back at once, and only the events
  # in a dying pod wait for the deadline.
  ack_deadline_seconds = var.ack_deadline_seconds

  enable_message_ordering = var.enable_message_ordering

  # For how long an event that can't be delivered comes again, and how far back a seek may go. Acknowledged
  # events are kept, too: without them a seek has nothing to return to.
  message_retention_duration = "${var.retention_days * 86400}s"
  retain_acked_messages      = true

  # By default a subscription without traffic is deleted after 31 days.
  expiration_policy {
    ttl = ""
  }

  # Wrapped pushes: only they carry deliveryAttempt. An unwrapped push has each attribute as a header, and
  # Spin takes at most 100 headers (docs/field-notes.md).
  push_config {
    push_endpoint = var.push_endpoint
    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = local.audience
    }
  }

  # Pub/Sub doesn't read Retry-After. These are the waits of one event; the subscription's own push
  # backoff comes on top and can't be set.
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # With dead_letters=store the relay itself keeps undeliverable events. Events that arrive here were
  # refused this often for another reason, most likely an outage. So the largest number is right: with the
  # waits above, 100 attempts are about 15 hours. With dead_letters=reject this is the only place for a
  # broken event; choose a smaller number then.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letter.id
    max_delivery_attempts = var.max_delivery_attempts
  }

  depends_on = [google_service_account_iam_member.agent_mints_tokens]
}

resource "google_pubsub_topic" "dead_letter" {
  project = var.project_id
  name    = "${var.name}-dead-letter"
}

# A topic without a subscription keeps nothing. This subscription waits for an operator; the runbook says
# how to send its events through the relay again.
resource "google_pubsub_subscription" "dead_letter" {
  project                    = var.project_id
  name                       = "${var.name}-dead-letter"
  topic                      = google_pubsub_topic.dead_letter.id
  ack_deadline_seconds       = var.ack_deadline_seconds
  message_retention_duration = "2678400s" # 31 days, the most there is
  expiration_policy {
    ttl = ""
  }
}

# Without these two Pub/Sub counts attempts and moves nothing.
resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  project = var.project_id
  topic   = google_pubsub_topic.dead_letter.name
  role    = "roles/pubsub.publisher"
  member  = local.service_agent
}

resource "google_pubsub_subscription_iam_member" "agent_takes_dead_letters" {
  project      = var.project_id
  subscription = google_pubsub_subscription.relay.name
  role         = "roles/pubsub.subscriber"
  member       = local.service_agent
}
