//! A client so plain that nothing of what a simulator sends is hidden by it: one connection a request, every byte kept, broken answers reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, whole or not.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether as many bytes came as were announced.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The URL that a `link` header gives for a relation.
    pub fn link(&self, rel: &str) -> Option<String> {
        let marked = format!("; rel=\"{rel}\"");
        let part = self.header("link").split(", ").find(|part| part.ends_with(&marked))?;
        Some(part.trim_end_matches(&marked).trim_matches(['<', '>']).to_owned())
    }
}

/// Sends one request and reads until the connection ends. `target` may be a path or one of the simulator's URLs.
pub fn send(addr: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> std::io::Result<Reply> {
    let target = target.strip_prefix(&format!("http://{addr}")).unwrap_or(target);
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        end?;
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let body = bytes[split + 4..].to_vec();
    let announced = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse::<usize>().unwrap());
    let bodiless = status == 204 || status == 304;
    Ok(Reply { status, headers, whole: bodiless || announced.is_none_or(|length| length == body.len()), body })
}

/// A GET of the GitHub API with a token.
pub fn get(addr: SocketAddr, target: &str, token: &str) -> Reply {
    get_with(addr, target, token, &[])
}

/// The same with more headers.
pub fn get_with(addr: SocketAddr, target: &str, token: &str, more: &[(&str, &str)]) -> Reply {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("user-agent", "test"), ("accept", "application/vnd.github+json"), ("authorization", bearer.as_str())];
    headers.extend_from_slice(more);
    send(addr, "GET", target, &headers, "").unwrap()
}

/// A POST of a form.
pub fn post_form(addr: SocketAddr, target: &str, pairs: &[(&str, &str)], more: &[(&str, &str)]) -> Reply {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded"), ("user-agent", "test")];
    headers.extend_from_slice(more);
    send(addr, "POST", target, &headers, &body).unwrap()
}

/// The query parameter of a URL.
pub fn query(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
