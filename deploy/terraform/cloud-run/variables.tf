variable "project_id" {
  description = "The Google Cloud project of everything here. Pub/Sub's subscription must be in it, too: only then its pushes count as internal."
  type        = string
}

variable "region" {
  description = "The region of everything here, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Must be a region such as europe-west1, not a zone."
  }
}

variable "name" {
  description = "The relay's service, and the beginning of every other name."
  type        = string
  default     = "svix-relay"

  validation {
    # "-operator" is appended, and an account's name may have 6 to 30 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{5,20}$", var.name))
    error_message = "Must be 6 to 21 small letters, digits and dashes, beginning with a letter."
  }
}

variable "image" {
  description = "The image of `make image` in Artifact Registry, by its digest: a tag can move."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Must end in @sha256: and the digest."
  }
}

variable "network" {
  description = "The VPC network of the store, as projects/PROJECT/global/networks/NETWORK."
  type        = string
}

variable "subnetwork" {
  description = "A subnetwork in the region, as projects/PROJECT/regions/REGION/subnetworks/SUBNETWORK. Each instance needs two of its addresses, so /26 or larger."
  type        = string
}

variable "pubsub_audience" {
  description = "The audience of the push subscription's tokens."
  type        = string

  validation {
    condition     = length(var.pubsub_audience) > 0
    error_message = "Must not be empty: it is what the relay compares."
  }
}

variable "pubsub_service_account" {
  description = "The account of the push subscription, by its e-mail address."
  type        = string
}

variable "svix_token_secret" {
  description = "The name of the secret with Svix's API token."
  type        = string
  default     = "svix-relay-svix-token"
}

variable "svix_token_version" {
  description = "Its version. With a number, a roll-back brings back the old token, too; \"latest\" is read when an instance starts."
  type        = string
  default     = "latest"
}

variable "admin_token_secret" {
  description = "The name of the secret with the operators' tokens, admin_token."
  type        = string
  default     = "svix-relay-admin-token"
}

variable "admin_token_version" {
  description = "Its version, or \"latest\"."
  type        = string
  default     = "latest"
}

variable "jobs_token_secret" {
  description = "The name of the secret with the token of the operator `jobs`, which admin_token must hold, too."
  type        = string
  default     = "svix-relay-jobs-token"
}

variable "svix_webhook_secret" {
  description = "The name of the secret with Svix's secret of operational webhooks; null: Svix doesn't report. With it, the relay's service can be reached from the internet."
  type        = string
  default     = null
}

variable "operators" {
  description = "Who may reach the operator's routes and the console, such as group:on-call@example.com. Each needs a token in admin_token as well."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount|domain):", member))])
    error_message = "Each must begin with user:, group:, serviceAccount: or domain:."
  }
}

variable "variables" {
  description = "Further variables of the relay (docs/configuration.md) by their names in spin.toml. No secret: they are in the state."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.variables) : !contains(["svix_token", "admin_token", "ingest_token", "project_token_secret", "svix_webhook_secret"], name)])
    error_message = "Secrets belong into Secret Manager."
  }

  validation {
    condition     = alltrue([for name in keys(var.variables) : !contains(["ingest_auth", "pubsub_audience", "pubsub_service_account", "key_prefix", "canary_project"], name)])
    error_message = "The module sets these: a service that is open to the internet must take Pub/Sub's tokens only."
  }
}

variable "max_instance_request_concurrency" {
  description = "How many requests an instance takes at once. Not more than the connections that the log's first line names."
  type        = number
  default     = 500

  validation {
    condition     = var.max_instance_request_concurrency >= 1 && var.max_instance_request_concurrency <= 1000
    error_message = "Must be from 1 to 1000."
  }
}

variable "key_prefix" {
  description = "The beginning of every name in the store, for a store that other applications use. Never change it after the first event."
  type        = string
  default     = ""
}

variable "canary_project" {
  description = "A project of your own, to which a canary goes. Empty: none."
  type        = string
  default     = ""
}

variable "canary_schedule" {
  description = "How often. Each canary is a message of Svix and a minute of Cloud Run."
  type        = string
  default     = "*/10 * * * *"
}

variable "min_instances" {
  description = "Instances that always run. With 2, one may go."
  type        = number
  default     = 2

  validation {
    condition     = var.min_instances >= 1
    error_message = "Must be 1 or more: the first event would wait for a start, and Pub/Sub slows down for late answers."
  }
}

variable "max_instances" {
  description = "Instances at most. One takes some 2,500 events a second at two thirds of its CPU, if Svix takes that many."
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= var.min_instances
    error_message = "Must not be below min_instances."
  }
}

variable "traffic" {
  description = "Which revisions take how much of the traffic; without a revision, the newest. An empty list would leave it as it is."
  type        = list(object({ revision = optional(string), percent = number }))
  default     = [{ percent = 100 }]

  validation {
    condition     = sum(concat([0], var.traffic[*].percent)) == 100
    error_message = "Must add up to 100."
  }
}

variable "redis_url" {
  description = "An existing Redis, as redis://HOST:PORT/DATABASE without a password, instead of the Valkey made here."
  type        = string
  default     = null

  validation {
    condition     = var.redis_url == null || can(regex("^rediss?://[^@]+$", var.redis_url))
    error_message = "Must begin with redis:// or rediss:// and hold no password."
  }
}

variable "create_connection_policy" {
  description = "Whether to make the network's service connection policy for Memorystore. A network has at most one in a region."
  type        = bool
  default     = true
}

variable "store_node_type" {
  description = "Valkey's machines: SHARED_CORE_NANO (1.4 GB, without a promise of availability), STANDARD_SMALL (6.5 GB), HIGHMEM_MEDIUM (13 GB) or HIGHMEM_XLARGE (58 GB). A million events of 40 days take 0.4 GB."
  type        = string
  default     = "STANDARD_SMALL"

  validation {
    condition     = contains(["SHARED_CORE_NANO", "STANDARD_SMALL", "HIGHMEM_MEDIUM", "HIGHMEM_XLARGE"], var.store_node_type)
    error_message = "Must be one of SHARED_CORE_NANO, STANDARD_SMALL, HIGHMEM_MEDIUM and HIGHMEM_XLARGE."
  }
}

variable "store_replicas" {
  description = "Valkey's replicas. With 1, the store is back within a minute after a machine has failed, without the writes that the replica had not received."
  type        = number
  default     = 1

  validation {
    condition     = var.store_replicas >= 0 && var.store_replicas <= 5
    error_message = "Must be 0 to 5."
  }
}

variable "store_append_fsync" {
  description = "When Valkey's log is on disk: ALWAYS before the answer, EVERY_SEC within a second."
  type        = string
  default     = "EVERY_SEC"

  validation {
    condition     = contains(["ALWAYS", "EVERY_SEC"], var.store_append_fsync)
    error_message = "Must be ALWAYS or EVERY_SEC: NEVER would lose half a minute of dead letters."
  }
}

variable "curl_image" {
  description = "The image of the jobs: curl and a shell."
  type        = string
  default     = "curlimages/curl:8.11.0"
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the services and the store. The store holds the only copy of each dead letter."
  type        = bool
  default     = true
}

variable "notification_channels" {
  description = "Cloud Monitoring's channels, to which the alerts go, as projects/PROJECT/notificationChannels/NUMBER. Without any, they go nowhere."
  type        = list(string)
  default     = []
}

variable "billing_account" {
  description = "The billing account of the budget; null: no budget."
  type        = string
  default     = null
}

variable "monthly_budget" {
  description = "The month's planned costs of the project, in whole units of the billing account's currency."
  type        = string
  default     = "300"

  validation {
    condition     = can(regex("^[1-9][0-9]*$", var.monthly_budget))
    error_message = "Must be a whole number."
  }
}

variable "budget_channels" {
  description = "Channels of the type e-mail that hear of the budget, at most five."
  type        = list(string)
  default     = []
}
