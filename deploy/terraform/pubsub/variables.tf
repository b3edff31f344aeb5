variable "project_id" {
  description = "The Google Cloud project of the topic and of everything here."
  type        = string
}

variable "topic" {
  description = "The platform's topic, as projects/PROJECT/topics/TOPIC."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/topics/[^/]+$", var.topic))
    error_message = "Must be projects/PROJECT/topics/TOPIC."
  }
}

variable "push_endpoint" {
  description = "Where the relay takes notifications, as Pub/Sub reaches it."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/notifications$", var.push_endpoint))
    error_message = "Must be https://HOST/notifications."
  }
}

variable "audience" {
  description = "The relay's pubsub_audience; by default the push endpoint."
  type        = string
  default     = null
}

variable "name" {
  description = "The subscription's name, and the beginning of the others."
  type        = string
  default     = "svix-relay"

  validation {
    # "-push" is appended, and an account's name may have 30 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{0,24}$", var.name))
    error_message = "Must be up to 25 small letters, digits and dashes, beginning with a letter."
  }
}

variable "ack_deadline_seconds" {
  description = "Above retry_budget_ms and 1.5 s, with room for the network."
  type        = number
  default     = 20

  validation {
    condition     = var.ack_deadline_seconds >= 12 && var.ack_deadline_seconds <= 600
    error_message = "Must be 12 to 600: the relay's default budget needs 9.5 s."
  }
}

variable "retention_days" {
  description = "How long the subscription keeps events. Less than before takes away those that wait for longer, undelivered ones, too."
  type        = number
  default     = 7

  validation {
    condition     = var.retention_days >= 7 && var.retention_days <= 31
    error_message = "Must be 7 to 31."
  }
}

variable "enable_message_ordering" {
  description = "Whether the events of one ordering key come one at a time, in order (docs/operating.md#order). A change replaces the subscription and loses the events that wait in it."
  type        = bool
  default     = false
}

variable "max_delivery_attempts" {
  description = "How often an event is refused before it goes to the dead-letter topic."
  type        = number
  default     = 100

  validation {
    condition     = var.max_delivery_attempts >= 5 && var.max_delivery_attempts <= 100
    error_message = "Must be 5 to 100."
  }
}

variable "notification_channels" {
  description = "Names of Cloud Monitoring's notification channels, to which the alerts go. Without any, the alerts go nowhere."
  type        = list(string)
  default     = []
}
