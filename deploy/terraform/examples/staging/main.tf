# A small relay on Cloud Run to try things: one instance, the smallest store, and a topic of its own. The Svix
# token must be of a Svix environment of its own, too.
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

resource "google_pubsub_topic" "events" {
  project = var.project_id
  name    = "events-staging"
}

module "pubsub" {
  source = "../../pubsub"

  project_id            = var.project_id
  topic                 = google_pubsub_topic.events.id
  push_endpoint         = module.relay.push_endpoint
  audience              = local.audience
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

  # No customer waits for these events, so a lost second is no harm.
  node_type           = "SHARED_CORE_NANO"
  replicas            = 0
  deletion_protection = false
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
  event_types            = "*"
  operators              = var.operators
  notification_channels  = var.notification_channels

  min_instances       = 1
  max_instances       = 2
  deletion_protection = false
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
