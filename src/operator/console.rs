//! The operator's console: a page that the component carries with it, and the policy by which a browser
//! loads nothing else into it.
//!
//! The page holds no secret and needs no token. It asks the operator's routes for everything that it shows,
//! with the token that is typed into it. The token lives in a variable of the page. A cookie would let
//! other sites send requests with it, and storage would keep it for the next user. Payloads can hold
//! anything that was published, so they become text nodes only. The policy holds even where the page has a
//! bug.

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::Part;
use crate::auth::Denial;
use crate::config::load;

const PAGE: &str = include_str!("console/page.html");
const STYLE: &str = include_str!("console/page.css");
const SCRIPT: &str = include_str!("console/page.js");

/// Only the page's own style and script, and requests to the relay itself. `img-src` is for the icon.
/// Trusted types without any policy allow none, so no text can become HTML or code.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; style-src 'self'; \
                      script-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A part of the console. Without an `admin_token` there is no console, since no operator could sign in.
pub async fn part(part: Part) -> Result<Success, Problem> {
    if load::config().await?.operators.is_empty() {
        return Err(Denial::NoOperators.into());
    }
    let (content_type, text) = match part {
        Part::Page => ("text/html; charset=utf-8", PAGE),
        Part::Style => ("text/css; charset=utf-8", STYLE),
        Part::Script => ("text/javascript; charset=utf-8", SCRIPT),
    };
    Ok(Success::Text {
        name: "console",
        content_type,
        headers: vec![
            ("content-security-policy", POLICY.to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
        ],
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_its_own_style_and_script_and_nothing_else() {
        assert_eq!(PAGE.matches("href=\"console/page.css\"").count(), 1);
        assert_eq!(PAGE.matches("src=").count(), 1);
        assert!(PAGE.contains("src=\"console/page.js\""));
        for foreign in ["url(", "@import"] {
            assert!(!STYLE.contains(foreign), "{foreign}");
        }
        let scripted = SCRIPT.contains("import ") || SCRIPT.contains("import(");
        assert!(!scripted, "a script of another file");
    }

    #[test]
    fn the_page_has_no_attribute_that_the_policy_would_forbid() {
        for tag in PAGE.split('<') {
            for attribute in tag.split([' ', '\n']) {
                let handler = attribute.starts_with("on") && attribute.contains('=');
                assert!(!handler && !attribute.starts_with("style="), "<{tag}");
            }
        }
        assert!(!PAGE.contains("<style"));
    }

    #[test]
    fn the_script_makes_no_html_and_no_code_of_a_text() {
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
            assert!(!SCRIPT.contains(way), "{way}");
        }
    }

    #[test]
    fn the_script_keeps_the_token_nowhere() {
        for place in ["localStorage", "sessionStorage", "indexedDB", "cookie"] {
            assert!(!SCRIPT.contains(place), "{place}");
        }
    }

    #[test]
    fn the_only_link_of_the_console_leads_to_the_dashboard_of_svix() {
        let urls: Vec<_> = [PAGE, STYLE, SCRIPT]
            .into_iter()
            .flat_map(|part| part.split("://").skip(1))
            .filter_map(|rest| rest.split(['\'', '"', ' ']).next())
            .collect();
        assert_eq!(urls, ["www.w3.org/2000/svg", "www.w3.org/2000/svg", "dashboard.svix.com/"]);
    }

    #[test]
    fn the_policy_allows_nothing_unsafe() {
        assert!(POLICY.starts_with("default-src 'none'; "));
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    }
}
