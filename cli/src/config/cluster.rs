//! The configuration of a server's cluster.

use std::net::SocketAddr;

use forebay_cache_server::cluster::{MemberInfo, TlsFiles};

use super::{Error, absolute, sure};
use crate::options::{PeerEntry, ServerOptions, is_address};

/// How a server talks to the others.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where it listens, `host:port`.
    pub listen: String,
    /// The address by which the others know it; `None` is the one that it listens at.
    pub address: Option<String>,
    /// Who the others are.
    pub members: Members,
    /// The cluster's name.
    pub name: String,
    /// How many servers keep each segment.
    pub replicas: usize,
    /// The certificates; `None` if it was asked to do without.
    pub tls: Option<TlsFiles>,
}

/// Who the servers of a cluster are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// These.
    Listed(Vec<MemberInfo>),
    /// The addresses of this name, `host:port`.
    Dns(String),
}

impl ClusterConfig {
    /// What `said`, under which the defaults lie already, says of the cluster; `None` if
    /// the server is alone.
    pub(super) fn of(said: &ServerOptions) -> Result<Option<Self>, Error> {
        let certificates = [
            ("cert", &said.peer_cert),
            ("key", &said.peer_key),
            ("ca", &said.peer_ca),
        ];
        let Some(listen) = &said.peer_listen else {
            return match () {
                () if said.peer.is_some() => Err(Error::NoPeerListen { key: "peer" }),
                () if said.peer_dns.is_some() => Err(Error::NoPeerListen { key: "peer-dns" }),
                () => Ok(None),
            };
        };
        for (key, value) in [
            ("peer-listen", Some(listen)),
            ("peer-address", said.peer_address.as_ref()),
            ("peer-dns", said.peer_dns.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !is_address(value)) {
                let value = value.clone();
                return Err(Error::NotAnAddress { key, value });
            }
        }
        let anywhere = listen.parse::<SocketAddr>();
        if anywhere.is_ok_and(|address| address.ip().is_unspecified())
            && said.peer_address.is_none()
        {
            let listen = listen.clone();
            return Err(Error::NoPeerAddress { listen });
        }
        let given = certificates.iter().find(|(_, file)| file.is_some());
        let tls = match (
            certificates.map(|(_, file)| file.clone()),
            sure(said.peer_insecure),
        ) {
            ([None, None, None], true) => None,
            (_, true) => {
                let key = given.map_or("cert", |(key, _)| *key);
                return Err(Error::PeerSecurityTwice { key });
            }
            ([Some(cert), Some(key), Some(authority)], false) => Some(TlsFiles {
                cert: absolute(cert)?,
                key: absolute(key)?,
                authority: absolute(authority)?,
                name: sure(said.peer_tls_name.clone()),
            }),
            (_, false) => return Err(Error::NoPeerSecurity),
        };
        let listed = said.peer.as_deref().unwrap_or_default();
        let members = match &said.peer_dns {
            Some(_) if said.peer.is_some() => return Err(Error::PeersTwice),
            Some(name) => Members::Dns(name.clone()),
            None => Members::Listed(listed.iter().map(|PeerEntry(info)| info.clone()).collect()),
        };
        Ok(Some(Self {
            listen: listen.clone(),
            address: said.peer_address.clone(),
            members,
            name: sure(said.cluster_name.clone()),
            replicas: sure(said.replicas).into(),
            tls,
        }))
    }

    /// As it is logged at the start.
    pub(super) fn summary(&self) -> serde_json::Value {
        let members: Vec<_> = match &self.members {
            Members::Listed(members) => members.iter().map(|info| info.name.as_str()).collect(),
            Members::Dns(name) => vec![name.as_str()],
        };
        serde_json::json!({
            "name": self.name,
            "listen": self.listen,
            "address": self.address,
            "members": members,
            "replicas": self.replicas,
            "certificate": self.tls.as_ref().map(|files| &files.cert),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OptionTable;

    fn of(flags: &[(&str, &str)]) -> Result<Option<ClusterConfig>, String> {
        let said = flags
            .iter()
            .fold(ServerOptions::default(), |said, (key, value)| {
                said.or(ServerOptions::of_key(key, &[(*value).to_owned()]).unwrap())
            });
        ClusterConfig::of(&said.or(ServerOptions::defaults())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_is_alone_unless_it_listens() {
        assert!(of(&[]).unwrap().is_none());
        let error = of(&[("peer", "a:1")]).unwrap_err();
        assert!(error.contains("--peer-listen"), "{error}");
    }

    #[test]
    fn certificates_are_left_out_only_when_that_is_asked_for() {
        let listen = ("peer-listen", "10.0.0.7:7070");
        let error = of(&[listen]).unwrap_err();
        assert!(error.contains("--peer-insecure"), "{error}");
        assert!(of(&[listen, ("peer-cert", "c")]).is_err());
        let both = of(&[listen, ("peer-key", "k"), ("peer-insecure", "true")]).unwrap_err();
        assert!(both.contains("--peer-key"), "{both}");
        let insecure = of(&[listen, ("peer-insecure", "true")]).unwrap().unwrap();
        assert!(insecure.tls.is_none());
        let files = [("peer-cert", "c"), ("peer-key", "k"), ("peer-ca", "a")];
        let secure = of(&[&[listen][..], &files].concat()).unwrap().unwrap();
        assert_eq!(secure.tls.unwrap().name, "forebay-peer");
    }

    #[test]
    fn members_have_a_weight_and_a_zone() {
        let listen = ("peer-listen", "h:1");
        let peer = ("peer", "10.0.0.8:7070,weight=2,zone=a");
        let found = of(&[listen, peer, ("peer-insecure", "true")])
            .unwrap()
            .unwrap();
        let member = MemberInfo {
            weight: 2,
            zone: Some("a".into()),
            ..MemberInfo::new("10.0.0.8:7070")
        };
        assert_eq!(found.members, Members::Listed(vec![member]));
        for wrong in ["h", "h:1,weight=x", "h:1,zone=", ":1", "h:1,w=2"] {
            assert!(wrong.parse::<PeerEntry>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        let error = of(&[("peer-listen", "7070")]).unwrap_err();
        assert!(error.contains("--peer-listen 7070"), "{error}");
        let anywhere = [("peer-listen", "0.0.0.0:7070"), ("peer-insecure", "true")];
        let error = of(&anywhere).unwrap_err();
        assert!(error.contains("--peer-address"), "{error}");
        let named = [&anywhere[..], &[("peer-address", "10.0.0.7:7070")]].concat();
        assert!(of(&named).unwrap().is_some());
    }
}
