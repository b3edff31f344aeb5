# Mails the billing account's administrators, and the notification channels, before the month's costs of the
# project exceed what was planned.
data "google_project" "this" {
  project_id = var.project_id
}

resource "google_billing_budget" "this" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = var.name

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      units = var.monthly_budget
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }
  threshold_rules {
    threshold_percent = 1
  }
  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  dynamic "all_updates_rule" {
    for_each = length(var.budget_channels) == 0 ? [] : [var.budget_channels]
    content {
      # Only channels of the type e-mail are taken, and at most five.
      monitoring_notification_channels = all_updates_rule.value
    }
  }
}
