# Alerts on the relay's log. Those on Pub/Sub's own metrics are in ../pubsub. Cloud Monitoring can't divide two
# counts of the log in a simple alert, so alerts.yaml, for a Prometheus, knows more cases.

locals {
  lines = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=(\"${var.name}\" OR \"${local.operator}\")",
    "jsonPayload.outcome:*",
  ])

  alerts = {
    misconfigured = {
      title    = "the relay is misconfigured: every event is refused"
      severity = "CRITICAL"
      outcomes = ["token-refused", "outbound-denied", "invalid-configuration", "unreadable-configuration"]
      above    = 0
      seconds  = 300
      section  = "misconfigured"
    }
    store = {
      title    = "the store fails"
      severity = "CRITICAL"
      outcomes = ["store-failing"]
      above    = 10
      seconds  = 300
      section  = "store-failing"
    }
    callers = {
      title    = "many notifications are refused"
      severity = "CRITICAL"
      outcomes = ["unauthenticated", "keys-unavailable"]
      above    = 100
      seconds  = 600
      section  = "callers-refused"
    }
    svix = {
      title    = "Svix does not take many of the notifications"
      severity = "WARNING"
      outcomes = ["svix-unavailable", "rate-limited", "unexpected-status"]
      above    = 100
      seconds  = 600
      section  = "svix-unavailable"
    }
    overloaded = {
      title    = "the relay has no room for large events"
      severity = "WARNING"
      outcomes = ["overloaded"]
      above    = 10
      seconds  = 600
      section  = "overloaded"
    }
    dead_letters = {
      title    = "events became dead letters"
      severity = "WARNING"
      outcomes = ["dead-lettered", "application-missing"]
      above    = 0
      seconds  = 3600
      section  = "dead-letters"
    }
    unlisted = {
      title    = "event_types says nothing of a type, and its events go no further"
      severity = "WARNING"
      outcomes = ["unlisted"]
      above    = 0
      seconds  = 3600
      section  = "type-unlisted"
    }
    many_dead_letters = {
      title    = "many events became dead letters: was there a release?"
      severity = "CRITICAL"
      outcomes = ["dead-lettered"]
      except   = "held"
      above    = 100
      seconds  = 600
      section  = "many-dead-letters"
    }
  }
}

resource "google_logging_metric" "outcomes" {
  project     = var.project_id
  name        = "${var.name}/outcomes"
  description = "Lines of the relay's log, by outcome"
  filter      = local.lines

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    labels {
      key        = "outcome"
      value_type = "STRING"
    }
    labels {
      key        = "reason"
      value_type = "STRING"
    }
  }
  label_extractors = {
    outcome = "EXTRACT(jsonPayload.outcome)"
    reason  = "EXTRACT(jsonPayload.reason)"
  }
}

resource "google_monitoring_alert_policy" "outcomes" {
  for_each = local.alerts

  # Google knows a new metric only after some minutes. The services wait for the store, which takes as long.
  depends_on = [google_cloud_run_v2_service.this]

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "more than ${each.value.above} in ${each.value.seconds} s"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"cloud_run_revision\"",
        "metric.type = \"logging.googleapis.com/user/${google_logging_metric.outcomes.name}\"",
        "metric.labels.outcome = monitoring.regex.full_match(\"${join("|", each.value.outcomes)}\")",
        "metric.labels.reason != \"${try(each.value.except, "none")}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "0s"
      aggregations {
        alignment_period     = "${each.value.seconds}s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#${each.value.section}"
  }
}

# Alerts on single lines. Their reason or another field tells what the outcome doesn't.
locals {
  line_alerts = {
    endpoint_disabled = {
      title   = "Svix has disabled an endpoint of a customer"
      filter  = "jsonPayload.outcome=\"reported\" AND jsonPayload.reason=\"endpoint.disabled\" AND severity>=WARNING"
      section = "endpoint-disabled"
    }
    events_given_up = {
      title   = "Svix has given up events of a customer"
      filter  = "jsonPayload.outcome=\"reported\" AND jsonPayload.reason=\"message.attempt.exhausted\""
      section = "events-given-up"
    }
    missing = {
      title    = "the audit found events that are missing in Svix"
      severity = "CRITICAL"
      filter   = "jsonPayload.outcome=\"audit-finding\" AND jsonPayload.reason=(\"missing\" OR \"application-missing\")"
      section  = "missing"
    }
    doubled = {
      title   = "the audit found events with a second message in Svix"
      filter  = "jsonPayload.outcome=\"audit-finding\" AND jsonPayload.reason=\"doubled\""
      section = "doubled"
    }
    unrecorded = {
      title   = "the audit found messages in Svix without a record"
      filter  = "jsonPayload.outcome=\"audit-finding\" AND jsonPayload.reason=\"unrecorded\""
      section = "unrecorded"
    }
    unsettled = {
      title   = "the audit found events that are not in Svix, and whose senders have not come back"
      filter  = "jsonPayload.outcome=\"audit-finding\" AND jsonPayload.reason=\"unsettled\""
      section = "unsettled"
    }
    unsent = {
      title   = "the audit found messages that Svix has not sent"
      filter  = "jsonPayload.outcome=\"audit-finding\" AND jsonPayload.reason=\"unsent\""
      section = "unsent"
    }
    letters_expire = {
      title   = "dead letters were deleted without a decision"
      filter  = "jsonPayload.outcome=\"dead-letter-expired\""
      section = "letters-expire"
    }
    content_differs = {
      title   = "a duplicate has other bytes than its event"
      filter  = "jsonPayload.contentDiffers=true"
      section = "content-differs"
    }
  }
}

resource "google_monitoring_alert_policy" "lines" {
  for_each = local.line_alerts

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  severity              = try(each.value.severity, "WARNING")
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "a line of the log"
    condition_matched_log {
      filter = "${local.lines} AND ${each.value.filter}"
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#${each.value.section}"
  }
}

# A job that fails and a job that never starts (its schedule is paused, its identity has lost a role) look alike
# here: no execution has succeeded. The alert fires after three and a half of the schedule's intervals.
resource "google_monitoring_alert_policy" "jobs" {
  for_each = local.jobs

  project               = var.project_id
  display_name          = "${var.name}: the job ${each.key} doesn't succeed"
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "no execution has succeeded for ${each.value.minutes * 7 / 2} minutes"
    condition_prometheus_query_language {
      disable_metric_validation = true # the first apply comes before the first value
      # Before the first execution there is no series, hence `or vector(0)`.
      query    = <<-EOT
        (sum(increase(run_googleapis_com:job_completed_execution_count{
          monitored_resource="cloud_run_job",
          job_name="${google_cloud_run_v2_job.this[each.key].name}",
          result="succeeded"
        }[${each.value.minutes * 2}m])) or vector(0)) == 0
      EOT
      duration = "${each.value.minutes * 90}s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "deploy/runbook.md#${each.value.section}"
  }
}
