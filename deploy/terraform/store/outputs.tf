# Without a password: there is none.
output "url" {
  value = "${var.tls ? "rediss" : "redis"}://${local.primary[0].ip_address}:${local.primary[0].port}/0"
}

# The name of the secret with the store's authority; null without TLS.
output "ca_secret" {
  # A name that is known before anything is made: the relay's module makes a volume of each secret.
  value      = var.tls ? "${var.name}-ca" : null
  depends_on = [google_secret_manager_secret_version.ca]
}
