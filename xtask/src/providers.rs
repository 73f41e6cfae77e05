//! The README's table of providers, made from the manifests, so that it cannot say anything else than they do.

use crate::{Outcome, build::CONNECTORS, shell::root};
use clap::Args;
use sluice_model::{
    Manifest,
    manifest::{Auth, AuthKind},
};
use std::{fs, process::ExitCode};

const BEGIN: &str = "<!-- providers: made by `cargo xtask providers` from the manifests -->";
const END: &str = "<!-- /providers -->";

#[derive(Args)]
pub struct ProvidersArgs {}

pub fn run(_: &ProvidersArgs) -> Outcome {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let new = replaced(&text, &table()?)?;
    if new != text {
        fs::write(&path, new).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replaced(readme: &str, table: &str) -> Result<String, String> {
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(|| format!("README.md has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("README.md has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn table() -> Result<String, String> {
    let mut out = String::from(
        "| provider | easiest way in | an app or key of your own? | a public address? | other ways in | state |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for name in CONNECTORS {
        let path = root().join("connectors").join(name).join("connector.toml");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let manifest = Manifest::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let Some((first, others)) = manifest.auth.split_first() else { continue };
        let others: Vec<String> = others.iter().map(|a| format!("{} ({})", a.title, app(a))).collect();
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | tested against a simulator; no live run reported yet |\n",
            manifest.title,
            first.title,
            app(first),
            address(first),
            if others.is_empty() { "—".to_owned() } else { others.join(", ") },
        ));
    }
    Ok(out)
}

fn app(auth: &Auth) -> String {
    let fields: Vec<String> = auth.app_fields.iter().map(|f| format!("`{}`", f.name)).collect();
    if fields.is_empty() { "no".to_owned() } else { format!("yes: {}", fields.join(", ")) }
}

fn address(auth: &Auth) -> &'static str {
    match &auth.kind {
        AuthKind::Fields(_) | AuthKind::None => "no",
        AuthKind::Oauth2(o) if o.loopback => "no",
        AuthKind::Oauth2(_) | AuthKind::Redirect(_) => "one that your browser reaches",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_the_manifests_say() {
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        assert_eq!(replaced(&readme, &table().unwrap()).unwrap(), readme, "run `cargo xtask providers`");
    }
}
