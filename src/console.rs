//! The operator's console: the page that the component carries with it, and the policy by which a
//! browser runs nothing else in it.
//!
//! The page holds no secret and needs no token. What it shows, it asks the operator's routes for, with
//! the token that is typed into it. The token lives in a variable of the page: a cookie would let other
//! sites send requests with it, and storage would keep it for whoever comes next. A payload, which is
//! whatever somebody could publish, becomes text nodes only; the policy holds even where the page doesn't.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::reply::Success;

const PAGE: &str = include_str!("console.html");

/// The page, with its headers.
pub fn page() -> Success {
    static POLICY: OnceLock<String> = OnceLock::new();
    Success::Text {
        name: "console",
        content_type: "text/html; charset=utf-8",
        headers: vec![
            (
                "content-security-policy",
                POLICY.get_or_init(policy).clone(),
            ),
            ("x-content-type-options", "nosniff".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
        ],
        text: PAGE.to_owned(),
    }
}

/// Only the page's own style and script, and requests to the relay itself. `img-src` is for its
/// icon; trusted types without any policy are none: no text can become HTML or code.
fn policy() -> String {
    let [style, script] =
        ["style", "script"].map(|tag| BASE64_STANDARD.encode(Sha256::digest(inline(tag))));
    format!(
        "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{style}'; \
         script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// What stands between the tags of the page's one element of this name.
fn inline(tag: &str) -> &'static str {
    let text = (|| {
        let (_, rest) = PAGE.split_once(&format!("<{tag}"))?;
        let (_, rest) = rest.split_once('>')?;
        Some(rest.split_once(&format!("</{tag}>"))?.0)
    })();
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page without its style and its script.
    fn markup() -> String {
        PAGE.replace(inline("style"), "")
            .replace(inline("script"), "")
    }

    #[test]
    fn has_one_style_and_one_script_and_both_are_inline() {
        for tag in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1);
            assert_eq!(PAGE.matches(&format!("</{tag}")).count(), 1);
            assert!(inline(tag).starts_with('\n') && inline(tag).ends_with('\n'));
        }
        assert!(inline("style").contains("color-scheme: light dark"));
        assert!(inline("script").contains("AbortSignal"));
    }

    #[test]
    fn has_no_attribute_that_the_policy_would_forbid() {
        for tag in markup().split('<') {
            for attribute in tag.split([' ', '\n']) {
                let handler = attribute.starts_with("on") && attribute.contains('=');
                assert!(!handler && !attribute.starts_with("style="), "<{tag}");
                assert!(!attribute.starts_with("src="), "<{tag}");
            }
        }
    }

    #[test]
    fn makes_no_html_and_no_code_of_a_text() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "setHTML",
            "DOMParser",
            "eval(",
            "Function(",
        ] {
            assert!(!PAGE.contains(way), "{way}");
        }
    }

    #[test]
    fn keeps_the_token_nowhere() {
        for place in ["localStorage", "sessionStorage", "indexedDB", "cookie"] {
            assert!(!PAGE.contains(place), "{place}");
        }
    }

    #[test]
    fn names_no_other_place_but_the_dashboard_of_svix() {
        let urls: Vec<_> = PAGE
            .split("://")
            .skip(1)
            .filter_map(|rest| rest.split(['\'', '"', ' ']).next())
            .collect();
        assert_eq!(
            urls,
            [
                "www.w3.org/2000/svg",
                "www.w3.org/2000/svg",
                "dashboard.svix.com/"
            ]
        );
        assert!(!PAGE.contains("url("));
        assert!(!PAGE.contains("@import"));
    }

    #[test]
    fn the_policy_allows_these_very_texts() {
        let Success::Text { headers, .. } = page() else {
            panic!("a text");
        };
        let policy = &headers[0].1;
        for tag in ["style", "script"] {
            let digest = BASE64_STANDARD.encode(Sha256::digest(inline(tag)));
            assert!(
                policy.contains(&format!("{tag}-src 'sha256-{digest}';")),
                "{policy}"
            );
        }
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!policy.contains("unsafe"));
    }
}
