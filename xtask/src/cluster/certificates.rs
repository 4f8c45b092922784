//! Keys and certificates, and the kubeconfigs that carry them.

use std::fs;

use anyhow::{Context, Result};

use super::layout::{API_PORT, API_SERVICE, HOST, Layout};
use crate::command;

/// Some days: a cluster is for a test.
const DAYS: &str = "30";

/// Who talks to the API: name of the files, common name, organization.
const USERS: [(&str, &str, &str); 4] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
];

/// Makes everything for a cluster of that many nodes.
pub(super) fn make(layout: &Layout, nodes: u8) -> Result<()> {
    fs::create_dir_all(layout.pki()).context("create the folder of keys")?;
    authority(layout)?;
    service_account(layout)?;
    let names = format!(
        "subjectAltName=IP:{HOST},IP:127.0.0.1,IP:{API_SERVICE},DNS:kubernetes,\
         DNS:kubernetes.default,DNS:kubernetes.default.svc"
    );
    sign(layout, "apiserver", "/CN=kube-apiserver", &names)?;
    for (file, name, organization) in USERS {
        user(layout, file, name, organization)?;
    }
    for index in 1..=nodes {
        let name = layout.node(index).name;
        user(
            layout,
            &name,
            &format!("system:node:{name}"),
            "system:nodes",
        )?;
    }
    Ok(())
}

fn user(layout: &Layout, file: &str, name: &str, organization: &str) -> Result<()> {
    let subject = match organization {
        "" => format!("/CN={name}"),
        _ => format!("/O={organization}/CN={name}"),
    };
    sign(layout, file, &subject, "extendedKeyUsage=clientAuth")?;
    super::write(&layout.kubeconfig(file), &kubeconfig(layout, file))
}

/// What tokens of service accounts are signed with, and checked with.
fn service_account(layout: &Layout) -> Result<()> {
    key(layout, "service-account")?;
    let (key, public) = (
        layout.pki_file("service-account.key"),
        layout.pki_file("service-account.pub"),
    );
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public])
}

fn authority(layout: &Layout) -> Result<()> {
    key(layout, "ca")?;
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        &layout.pki_file("ca.key"),
        "-subj",
        "/CN=forebay-cluster",
        "-days",
        DAYS,
        "-out",
        &layout.pki_file("ca.crt"),
    ])
}

fn key(layout: &Layout, name: &str) -> Result<()> {
    let file = layout.pki_file(&format!("{name}.key"));
    openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &file,
    ])
}

fn sign(layout: &Layout, name: &str, subject: &str, extensions: &str) -> Result<()> {
    key(layout, name)?;
    let file = |end: &str| layout.pki_file(&format!("{name}.{end}"));
    let (key, request, certificate, options) = (file("key"), file("csr"), file("crt"), file("ext"));
    fs::write(&options, extensions).context("write the extensions of a certificate")?;
    openssl(&[
        "req", "-new", "-key", &key, "-subj", subject, "-out", &request,
    ])?;
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &layout.pki_file("ca.crt"),
        "-CAkey",
        &layout.pki_file("ca.key"),
        "-CAcreateserial",
        "-extfile",
        &options,
        "-days",
        DAYS,
        "-out",
        &certificate,
    ])
}

fn openssl(args: &[&str]) -> Result<()> {
    command::quiet("openssl", args).map(drop)
}

fn kubeconfig(layout: &Layout, user: &str) -> String {
    let file = |name: &str| layout.pki_file(name);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: forebay
  cluster:
    server: https://{HOST}:{API_PORT}
    certificate-authority: {ca}
users:
- name: {user}
  user:
    client-certificate: {certificate}
    client-key: {key}
contexts:
- name: forebay
  context: {{cluster: forebay, user: {user}}}
current-context: forebay
",
        ca = file("ca.crt"),
        certificate = file(&format!("{user}.crt")),
        key = file(&format!("{user}.key")),
    )
}
