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

variable "event_types" {
  description = "The types of events that customers may see, with spaces, such as \"user.created subscription.* !ledger.*\": those with ! are internal, and an alert tells of a type that nothing names; \"*\" are all. There is no default, since the topic also serves the platform itself."
  type        = string

  validation {
    condition     = trimspace(var.event_types) != ""
    error_message = "Name the types that customers may see, or \"*\"."
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
    condition     = alltrue([for name in keys(var.variables) : !contains(["ingest_auth", "pubsub_audience", "pubsub_service_account", "key_prefix", "canary_project", "event_types"], name)])
    error_message = "The module sets these; a service that is open to the internet must take Pub/Sub's tokens only."
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

variable "canary_minutes" {
  description = "A canary goes out every so many minutes. Each is a message of Svix and a minute of Cloud Run."
  type        = number
  default     = 10

  validation {
    condition     = contains([1, 2, 5, 10, 15, 20, 30, 60], var.canary_minutes)
    error_message = "Must be 1, 2, 5, 10, 15, 20, 30 or 60."
  }
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
  description = "Instances at most. One takes some 2,000 events a second at two thirds of its CPU, if Svix takes that many."
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
  description = "The store, as redis://HOST:PORT/DATABASE or, with TLS, rediss://HOST:PORT/DATABASE, without a password. ../store gives one."
  type        = string

  validation {
    condition     = can(regex("^rediss?://[^@]+$", var.redis_url))
    error_message = "Must begin with redis:// or rediss:// and hold no password."
  }
}

variable "redis_files" {
  description = "Names of secrets with what proves who speaks: the store's password, the authority (ca) that signs its certificate, and a certificate with its key that the relay shows. Without ca, the public authorities count."
  type = object({
    password = optional(string)
    ca       = optional(string)
    cert     = optional(string)
    key      = optional(string)
  })
  default = {}

  validation {
    condition     = (var.redis_files.cert == null) == (var.redis_files.key == null)
    error_message = "cert and key belong together."
  }
}

variable "curl_image" {
  description = "The image of the jobs: curl and a shell."
  type        = string
  default     = "curlimages/curl:8.11.0@sha256:83a505ba2ba62f208ed6e410c268b7b9aa48f0f7b403c8108b9773b44199dbba"

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.curl_image))
    error_message = "Must end in @sha256: and the digest."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the services."
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
  default     = "500"

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
