# For a relay on GKE (deploy/spinkube): Pub/Sub's side, the store in the cluster's network, and the load balancer's
# address and certificate. The cluster is yours. docs/deploy-gke.md goes through it line by line.

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

module "pubsub" {
  source = "../../pubsub"

  project_id            = var.project_id
  topic                 = var.topic
  push_endpoint         = "https://${var.host}/notifications"
  retention_days        = var.retention_days
  notification_channels = var.notification_channels
}

module "store" {
  source = "../../store"

  project_id   = var.project_id
  region       = var.region
  name         = var.store_name
  network      = var.network
  subnetwork   = var.subnetwork
  node_type    = "STANDARD_SMALL"
  replicas     = 1
  append_fsync = "ALWAYS"
  # Spin has no setting for the store's authority.
  tls                   = false
  backup                = var.store_backup
  notification_channels = var.notification_channels
}

# The address and the certificate of spinkube/gateway.yaml, which names them.
resource "google_compute_global_address" "this" {
  project = var.project_id
  name    = "svix-relay"
}

resource "google_certificate_manager_certificate" "this" {
  project = var.project_id
  name    = "svix-relay"
  # Google issues it once the host's name leads to the address, and the Gateway has it.
  managed {
    domains = [var.host]
  }
}

resource "google_certificate_manager_certificate_map" "this" {
  project = var.project_id
  name    = "svix-relay"
}

resource "google_certificate_manager_certificate_map_entry" "this" {
  project      = var.project_id
  name         = "svix-relay"
  map          = google_certificate_manager_certificate_map.this.name
  hostname     = var.host
  certificates = [google_certificate_manager_certificate.this.id]
}

variable "retention_days" {
  description = "See ../../pubsub/variables.tf; for a long outage."
  type        = number
  default     = 7
}

variable "project_id" {
  description = "The Google Cloud project of the cluster and the subscription."
  type        = string
}

variable "region" {
  description = "The region of the cluster and its store."
  type        = string
  default     = "europe-west1"
}

variable "host" {
  description = "The name under which Pub/Sub reaches the relay, such as relay.example.com."
  type        = string
}

variable "network" {
  description = "The cluster's VPC network, as projects/PROJECT/global/networks/NETWORK."
  type        = string
}

variable "subnetwork" {
  description = "The cluster's subnetwork, as projects/PROJECT/regions/REGION/subnetworks/SUBNETWORK."
  type        = string
}

variable "topic" {
  description = "The platform's topic, as projects/PROJECT/topics/TOPIC."
  type        = string
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

variable "store_backup" {
  description = "The backup that a new store begins with."
  type        = string
  default     = null
}

output "address" {
  value = google_compute_global_address.this.address
}

# For runtime-config.toml.
output "store_url" {
  value = module.store.url
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
