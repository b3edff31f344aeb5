# Alerts that only Pub/Sub can give: events wait for the relay, or Pub/Sub has given them up. They work even
# if the relay itself sees no trouble.

locals {
  alerts = {
    late = {
      title        = "events wait for more than 15 minutes"
      severity     = "CRITICAL"
      subscription = google_pubsub_subscription.relay.name
      metric       = "oldest_unacked_message_age"
      above        = 900
      section      = "nothing-arrives"
    }
    dead_letter = {
      title        = "events were refused too often and left the relay's subscription"
      severity     = "WARNING"
      subscription = google_pubsub_subscription.dead_letter.name
      metric       = "num_undelivered_messages"
      above        = 0
      section      = "pubsubs-dead-letter-topic"
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "${each.value.subscription}: ${each.value.metric} above ${each.value.above}"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"pubsub_subscription\"",
        "resource.labels.subscription_id = \"${each.value.subscription}\"",
        "metric.type = \"pubsub.googleapis.com/subscription/${each.value.metric}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "0s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#${each.value.section}"
  }
}

# At most 216 minutes of a month may see an event wait for more than 60 s (0.5 %). Delays that are too short for the alert
# above use these up unless each day stays below its share of 7.
resource "google_monitoring_alert_policy" "budget" {
  project               = var.project_id
  display_name          = "${var.name}: events were late for more minutes than a day's share of a month's 216"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "an event waited for more than 60 s in over 7 minutes of a day"
    condition_prometheus_query_language {
      disable_metric_validation = true # the first apply comes before the first value
      query                     = <<-EOT
        count_over_time((pubsub_googleapis_com:subscription_oldest_unacked_message_age{
          monitored_resource="pubsub_subscription",
          subscription_id="${google_pubsub_subscription.relay.name}"
        } > 60)[1d:1m]) > 7
      EOT
      duration                  = "0s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#nothing-arrives"
  }
}
