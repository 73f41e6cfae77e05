//! Names become addresses here, once a connection, and each address is judged before anything is dialled.
//!
//! A name may point anywhere, also into the operator's home network, and may point elsewhere a second later. So the answer that was judged is the
//! answer that is dialled, and a set in which one address is refused is refused whole: a rebinding name that mixes a public address with
//! 127.0.0.1 gets nothing. Address literals never reach a resolver (the HTTP library skips it for them); [`Judge::literal`] takes them from the URL.
//!
//! The HTTP library names only the host to a resolver, not the port, so there is one resolver (and one client) for each port and openness: that
//! is what lets this host's own listeners be refused by address *and* port.

use async_trait::async_trait;
use sluice_model::address;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use url::{Host, Url};

/// No honest name has more addresses.
const MAX_ADDRESSES: usize = 64;

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name.
    ///
    /// # Errors
    /// The name does not exist, or nobody answered.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|at| at.ip()).collect())
    }
}

/// Where this host listens.
#[derive(Clone)]
pub(crate) struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnListeners {
    pub(crate) fn new(all: Vec<SocketAddr>) -> Self {
        Self(Arc::new(RwLock::new(all)))
    }

    pub(crate) fn add(&self, at: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(at);
    }

    fn is(&self, at: SocketAddr) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ip = at.ip().to_canonical();
        all.iter().filter(|own| own.port() == at.port()).any(|own| {
            let own = own.ip().to_canonical();
            own == ip || own.is_unspecified() && is_of_this_machine(ip)
        })
    }
}

/// Whether an address is one of this machine's: only those can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Why a name or address is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotDialled {
    /// By our rules.
    #[error("{0}")]
    Refused(String),
    /// Nobody knows the name.
    #[error("the name did not resolve")]
    Unknown,
}

/// How an address on the open internet is judged; tests of rebinding put in a rule under which loopback stands for the internet.
pub(crate) type IpRule = fn(IpAddr) -> Result<(), String>;

/// The rule of the model.
pub(crate) fn by_the_model(ip: IpAddr) -> Result<(), String> {
    address::judge_ip(ip).map_err(|class| format!("{ip} is no public address ({class})"))
}

/// Judges where one client may go.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) own: OwnListeners,
    pub(crate) port: u16,
    /// The operator opened private addresses for this upstream.
    pub(crate) open: bool,
    pub(crate) rule: IpRule,
}

impl Judge {
    /// Judges an address.
    pub(crate) fn ip(&self, ip: IpAddr) -> Result<(), NotDialled> {
        let refuse = |why: String| Err(NotDialled::Refused(why));
        if self.port == 0 {
            return refuse("port 0 is no port".to_owned());
        }
        if self.own.is(SocketAddr::new(ip, self.port)) {
            return refuse(format!("{ip} port {} is this host itself", self.port));
        }
        if !self.open {
            return (self.rule)(ip).map_err(NotDialled::Refused);
        }
        let nowhere = match ip.to_canonical() {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
        };
        if nowhere { refuse(format!("{ip} is no address of one machine")) } else { Ok(()) }
    }

    /// Judges what a URL says before any name is looked up: address literals wholly, names by their form.
    pub(crate) fn literal(&self, url: &Url) -> Result<(), NotDialled> {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.ip(ip.into()),
            Some(Host::Domain(_)) if self.port == 0 => Err(NotDialled::Refused("port 0 is no port".to_owned())),
            Some(Host::Domain(name)) if !self.open => {
                address::judge_host_name(name).map_err(|class| NotDialled::Refused(format!("{name} is no public name ({class})")))
            }
            Some(Host::Domain(_)) => Ok(()),
            None => Err(NotDialled::Refused("there is no host in it".to_owned())),
        }
    }

    fn all(&self, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, NotDialled> {
        if found.is_empty() {
            return Err(NotDialled::Unknown);
        }
        if found.len() > MAX_ADDRESSES {
            return Err(NotDialled::Refused(format!("the name has {} addresses, more than {MAX_ADDRESSES}", found.len())));
        }
        for ip in &found {
            self.ip(*ip)?;
        }
        Ok(found)
    }
}

/// The resolver that the HTTP library is given.
pub(crate) struct Judged {
    pub(crate) connector: String,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) judge: Judge,
}

impl reqwest::dns::Resolve for Judged {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (resolver, judge, connector) = (Arc::clone(&self.resolver), self.judge.clone(), self.connector.clone());
        Box::pin(async move {
            let found = resolver.resolve(name.as_str()).await.map_err(|_| NotDialled::Unknown)?;
            let good = judge.all(found)?;
            tracing::debug!(connector, host = name.as_str(), port = judge.port, addresses = ?good, "a name may be dialled");
            // Port 0 means the URL's own; any other would win over it.
            Ok(Box::new(good.into_iter().map(|ip| SocketAddr::new(ip, 0))) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
