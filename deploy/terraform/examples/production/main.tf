# The relay on Cloud Run for a platform with one topic of events.
# docs/deploy-cloud-run.md goes through it line by line.

terraform {
  required_version = ">= 1.9"
  # The state holds no secret. Keep it where your colleagues find it:
  # backend "gcs" {
  #   bucket = "example-terraform-state"
  #   prefix = "svix-relay"
  # }
}

provider "google" {
  project = var.project_id
  region  = var.region
  # The budget's API counts the calls of a person on a project.
  user_project_override = true
  billing_project       = var.project_id
}

locals {
  # Any text, as long as subscription and relay agree on it.
  audience = "svix-relay"
}

resource "google_compute_network" "this" {
  project                 = var.project_id
  name                    = "svix-relay"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  project       = var.project_id
  name          = "svix-relay"
  region        = var.region
  network       = google_compute_network.this.id
  ip_cidr_range = "10.10.0.0/24"
}

module "pubsub" {
  source = "../../pubsub"

  project_id            = var.project_id
  topic                 = var.topic
  push_endpoint         = module.relay.push_endpoint
  audience              = local.audience
  retention_days        = var.retention_days
  notification_channels = var.notification_channels
}

module "store" {
  source = "../../store"

  project_id            = var.project_id
  region                = var.region
  name                  = var.store_name
  network               = google_compute_network.this.id
  subnetwork            = google_compute_subnetwork.this.id
  tls                   = var.store_tls
  backup                = var.store_backup
  notification_channels = var.notification_channels

  node_type    = "STANDARD_SMALL"
  replicas     = 1
  append_fsync = "ALWAYS"
}

module "relay" {
  source = "../../cloud-run"

  project_id             = var.project_id
  region                 = var.region
  image                  = var.image
  network                = google_compute_network.this.id
  subnetwork             = google_compute_subnetwork.this.id
  redis_url              = module.store.url
  redis_files            = { ca = module.store.ca_secret }
  pubsub_audience        = local.audience
  pubsub_service_account = module.pubsub.pubsub_service_account
  event_types            = var.event_types
  operators              = var.operators
  notification_channels  = var.notification_channels

  min_instances   = 2
  max_instances   = 10
  canary_project  = var.canary_project
  traffic         = var.traffic
  billing_account = var.billing_account
  monthly_budget  = var.monthly_budget
  budget_channels = var.notification_channels

  svix_webhook_secret = var.svix_webhook_secret
}

variable "project_id" {
  description = "The Google Cloud project of everything here."
  type        = string
}

variable "region" {
  description = "The region of the relay and its store."
  type        = string
  default     = "europe-west1"
}

variable "image" {
  description = "The image with its digest, as REGION-docker.pkg.dev/PROJECT/REPOSITORY/svix-relay@sha256:…"
  type        = string
}

variable "operators" {
  description = "Who may reach the console, such as group:on-call@example.com."
  type        = list(string)
  default     = []
}

variable "notification_channels" {
  description = "Cloud Monitoring's channels, to which the alerts go."
  type        = list(string)
  default     = []
}

variable "event_types" {
  description = "The types of events that customers may see, with spaces, such as \"user.created subscription.*\"; \"*\" are all."
  type        = string
}

variable "topic" {
  description = "The topic of the platform, as projects/PROJECT/topics/TOPIC."
  type        = string
}

variable "svix_webhook_secret" {
  description = "The name of the secret in Secret Manager that holds the secret of Svix's operational webhooks. It opens the relay to the internet."
  type        = string
  default     = null
}

variable "canary_project" {
  description = "A project of your own in Svix, to which a canary goes."
  type        = string
  default     = ""
}

variable "retention_days" {
  description = "See ../../pubsub/variables.tf; for a long outage."
  type        = number
  default     = 7
}

variable "traffic" {
  description = "See ../../cloud-run/variables.tf; for a canary and a roll-back."
  type        = list(object({ revision = optional(string), percent = number }))
  default     = [{ percent = 100 }]
}

variable "billing_account" {
  description = "The billing account of the budget."
  type        = string
  default     = null
}

variable "monthly_budget" {
  description = "The planned costs of a month, in whole units of the currency of the billing account."
  type        = string
  default     = "500"
}

variable "store_name" {
  description = "The name of the store; another one to restore or replace it."
  type        = string
  default     = "svix-relay"
}

variable "store_tls" {
  description = "Whether connections to the store are encrypted."
  type        = bool
  default     = true
}

variable "store_backup" {
  description = "The backup that a new store begins with."
  type        = string
  default     = null
}

output "push_endpoint" {
  value = module.relay.push_endpoint
}

output "pubsub_audience" {
  value = module.pubsub.pubsub_audience
}

output "pubsub_service_account" {
  value = module.pubsub.pubsub_service_account
}

output "operator_service" {
  value = module.relay.operator_service
}

output "latest_revision" {
  value = module.relay.latest_revision
}

output "dead_letter_subscription" {
  value = module.pubsub.dead_letter_subscription
}
