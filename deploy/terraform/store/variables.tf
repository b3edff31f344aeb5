variable "project_id" {
  description = "The Google Cloud project of the store."
  type        = string
}

variable "region" {
  description = "The region of the store, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Must be a region such as europe-west1, not a zone."
  }
}

variable "name" {
  description = "The store's name. A store that is restored or replaced gets another one."
  type        = string
  default     = "svix-relay"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.name))
    error_message = "Must be 4 to 63 small letters, digits and dashes, beginning with a letter."
  }
}

variable "network" {
  description = "The VPC network of the relay, as projects/PROJECT/global/networks/NETWORK."
  type        = string
}

variable "subnetwork" {
  description = "The subnetwork that takes the store's endpoint, as projects/PROJECT/regions/REGION/subnetworks/SUBNETWORK."
  type        = string
}

variable "create_connection_policy" {
  description = "Whether to make the network's service connection policy for Memorystore. A network has at most one in a region."
  type        = bool
  default     = true
}

variable "node_type" {
  description = "Valkey's machines: SHARED_CORE_NANO (1.1 GB for data, without a promise of availability), STANDARD_SMALL (5.2 GB), HIGHMEM_MEDIUM (10.4 GB) or HIGHMEM_XLARGE (46 GB). A million events take 0.4 GB."
  type        = string
  default     = "STANDARD_SMALL"

  validation {
    condition     = contains(["SHARED_CORE_NANO", "STANDARD_SMALL", "HIGHMEM_MEDIUM", "HIGHMEM_XLARGE"], var.node_type)
    error_message = "Must be one of SHARED_CORE_NANO, STANDARD_SMALL, HIGHMEM_MEDIUM and HIGHMEM_XLARGE."
  }
}

variable "replicas" {
  description = "Valkey's replicas. With 1, the store is back within a minute after a machine has failed, without the writes that the replica had not received."
  type        = number
  default     = 1

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "Must be 0 to 5."
  }
}

variable "append_fsync" {
  description = "When Valkey's log is on disk: ALWAYS before the answer, EVERY_SEC within a second."
  type        = string
  default     = "EVERY_SEC"

  validation {
    condition     = contains(["ALWAYS", "EVERY_SEC"], var.append_fsync)
    error_message = "Must be ALWAYS or EVERY_SEC: NEVER would lose half a minute of dead letters."
  }
}

variable "tls" {
  description = "Whether connections are encrypted, for `serve`. Spin has no setting for the store's authority. A change needs another name."
  type        = bool
  default     = true
}

variable "backup" {
  description = "The backup that a new store begins with, as projects/PROJECT/locations/REGION/backupCollections/COLLECTION/backups/BACKUP."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether Google refuses to delete the store. The store holds the only copy of each dead letter."
  type        = bool
  default     = true
}

variable "notification_channels" {
  description = "Cloud Monitoring's channels, to which the alert goes, as projects/PROJECT/notificationChannels/NUMBER."
  type        = list(string)
  default     = []
}
