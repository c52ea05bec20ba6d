//! Where a push goes: an https URL, and only to addresses that everybody can reach.
//!
//! Whoever can store an entry can have the relay connect to a host of their choice. So that they do not reach what the relay can and they cannot,
//! nothing is sent to an address that is not public, be it written in the URL or what a name stands for when it is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;

/// Where to connect and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    uri: Uri,
}

impl Endpoint {
    /// `None` if that is no https URL of a host, or names an address that is not public, unless those are allowed.
    pub(crate) fn parse(text: &str, private_allowed: bool) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let is_whole = match authority.port_u16() {
            // Without a user, or a port that is none.
            None => authority.as_str() == authority.host(),
            Some(port) => port > 0 && authority.as_str() == format!("{}:{}", authority.host(), authority.port()?),
        };
        let is_sound = uri.scheme_str() == Some("https") && !authority.host().is_empty() && is_whole;
        let endpoint = is_sound.then_some(Self { uri })?;
        let is_allowed = endpoint.host().parse().map_or(true, |address| private_allowed || is_public(address));
        is_allowed.then_some(endpoint)
    }

    /// A name or an address, without brackets.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(443)
    }

    /// As the header `Host` has it, without a default port.
    pub(super) fn authority(&self) -> String {
        let host = self.uri.host().unwrap_or_default();
        if self.port() == 443 { host.into() } else { format!("{host}:{}", self.port()) }
    }

    /// RFC 6454, section 6.2.
    pub(super) fn origin(&self) -> String {
        format!("https://{}", self.authority().to_ascii_lowercase())
    }

    pub(super) fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

/// Whether that is an address that everybody can reach: by the registries of special addresses of IANA (RFC 6890), and none that carries another
/// address in itself (6to4, Teredo, NAT64).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global = a & 0xe000 == 0x2000;
    let is_special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x3fff => b < 0x1000,
        _ => a == 0x2002,
    };
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_host() {
        let endpoint = Endpoint::parse("https://push.Example.org/v2/abc?x=1", false).unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.path()), ("push.Example.org", 443, "/v2/abc?x=1"));
        assert_eq!(endpoint.origin(), "https://push.example.org");
        let endpoint = Endpoint::parse("https://[2a00:1450::5]:8443", false).unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.path()), ("2a00:1450::5", 8443, "/"));
        assert_eq!(endpoint.origin(), "https://[2a00:1450::5]:8443");
        assert_eq!(
            Endpoint::parse("https://push.example.org:443/", false).unwrap().origin(),
            "https://push.example.org"
        );
        for wrong in [
            "",
            "push.example.org",
            "/push",
            "http://push.example.org/",
            "https://",
            "https:///push",
            "https://:443/",
            "https://user:word@push.example.org/",
            "https://push.example.org:0/",
            "https://push.example.org:99999/",
            "https://push.example.org/a b",
            "https://push.example.org/\r\nX-Evil: 1",
            "file:///etc/passwd",
        ] {
            assert_eq!(Endpoint::parse(wrong, true), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = private.parse().unwrap();
            assert!(!is_public(address), "{private}");
            let url = if address.is_ipv6() { format!("https://[{private}]/") } else { format!("https://{private}/") };
            assert_eq!(Endpoint::parse(&url, false), None, "{url}");
            assert!(Endpoint::parse(&url, true).is_some(), "{url}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "::ffff:8.8.8.8",
            "2606:4700::1",
            "2a01:4f8::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
