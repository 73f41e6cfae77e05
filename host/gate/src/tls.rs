//! Whom the gate believes on the other end: the machine's certificate authorities, those that the operator adds, and nobody else.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::{Arc, OnceLock};

/// Certificate authorities beside those of the machine: an operator's own, for a server at home or in a company.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Reads a PEM file's text: every certificate in it becomes an authority.
    ///
    /// # Errors
    /// It holds no certificate, or one that cannot be an authority; in words that follow the file's name.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        let mut all = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "is damaged: a PEM block in it does not end, or is no base64".to_owned())?;
            let number = all.len().saturating_add(1);
            store.add(certificate.clone()).map_err(|_| format!("its certificate number {number} is no X.509 certificate"))?;
            all.push(certificate);
        }
        if all.is_empty() {
            return Err("holds no certificate: PEM is wanted, with a line -----BEGIN CERTIFICATE-----".to_owned());
        }
        Ok(Self(all))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// TLS settings, made when first needed: reading the system's certificates takes some ms.
#[derive(Default)]
pub(crate) struct Tls {
    roots: Roots,
    made: OnceLock<Result<ClientConfig, String>>,
}

impl Tls {
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, made: OnceLock::new() }
    }

    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        self.made.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|why| format!("setting up TLS failed: {why}"))?;
        let mut config = match Verifier::new_with_extra_roots(self.roots.0.iter().cloned(), provider) {
            // What rustls calls dangerous is any verifier but its own: this one is its own, over the machine's authorities.
            Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(),
            Err(why) => {
                // Plain http to an upstream on this machine must still work; every https request then fails as not trusted.
                tracing::warn!(
                    "reading this machine's certificates failed ({why}): no https request will succeed; install ca-certificates"
                );
                builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Why a handshake failed, in words of our own: what the other side sent is in none of them.
pub(crate) fn reason(error: &Error) -> &'static str {
    let Error::InvalidCertificate(refused) = error else {
        return "TLS failed: the two sides could not agree, or it speaks no TLS";
    };
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "TLS failed: its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "TLS failed: its certificate is not valid yet (is this machine's clock right?)"
        }
        // A bad signature: there is an authority of that name, and another one signed.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "TLS failed: its certificate is by an authority that this machine does not know (`ca-file` in plugins.toml adds one of your own)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "TLS failed: its certificate is for another name"
        }
        _ => "TLS failed: its certificate is not acceptable",
    }
}
