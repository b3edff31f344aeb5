# Pub/Sub's side for a relay on GKE (deploy/spinkube). The cluster is yours.

terraform {
  required_version = ">= 1.5"
  # backend "gcs" {
  #   bucket = "example-terraform-state"
  #   prefix = "svix-relay"
  # }
}

provider "google" {
  project = var.project_id
}

module "pubsub" {
  source = "../../pubsub"

  project_id            = var.project_id
  topic                 = var.topic
  push_endpoint         = var.push_endpoint
  notification_channels = var.notification_channels
}

variable "project_id" {
  description = "The Google Cloud project of the topic."
  type        = string
}

variable "topic" {
  description = "The platform's topic, as projects/PROJECT/topics/TOPIC."
  type        = string
}

variable "push_endpoint" {
  description = "Where the ingress takes notifications, as https://HOST/notifications."
  type        = string
}

variable "notification_channels" {
  description = "Cloud Monitoring's channels, to which the alerts go."
  type        = list(string)
  default     = []
}

# For spinkube/spinapp.yaml and the runbook's commands.
output "pubsub_audience" {
  value = module.pubsub.pubsub_audience
}

output "pubsub_service_account" {
  value = module.pubsub.pubsub_service_account
}

output "push_endpoint" {
  value = module.pubsub.push_endpoint
}

output "dead_letter_subscription" {
  value = module.pubsub.dead_letter_subscription
}
