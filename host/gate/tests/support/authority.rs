//! A certificate authority of a test's own, and a server with a certificate by it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_gate::Roots;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).unwrap()
    }
}

/// A server with a certificate, and what reached it in the clear.
pub struct TlsServer {
    pub port: u16,
    /// The bytes that each connection brought once TLS stood; none for one where it never did.
    pub got: Arc<Mutex<Vec<Option<String>>>>,
}

impl TlsServer {
    /// Serves with a certificate for `name` by `authority`, valid for the years from the first up to the second.
    pub async fn start(authority: &Authority, name: &str, years: (i32, i32)) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap().der().clone();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, got) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let brought = match acceptor.accept(stream).await {
                    Ok(mut stream) => {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            match stream.read_u8().await {
                                Ok(byte) => head.push(byte),
                                Err(_) => break,
                            }
                        }
                        // The count comes before the answer, which is what the test waits for.
                        all.lock().unwrap().push(Some(String::from_utf8(head).unwrap()));
                        let _ = stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwell").await;
                        let _ = stream.shutdown().await;
                        continue;
                    }
                    Err(_) => None,
                };
                all.lock().unwrap().push(brought);
            }
        });
        Self { port, got }
    }

    pub fn got(&self) -> Vec<Option<String>> {
        self.got.lock().unwrap().clone()
    }
}
