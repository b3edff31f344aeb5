//! `POST /projects/{project}/token`: a token with which the platform's own dashboard shows a customer the fate
//! of its events.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::request::{Check, OperatorRequest, fields, whole_number};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table;
use crate::auth::project_token;
use crate::host::clock;
use crate::time::{rfc3339, unix_seconds};

/// For how many seconds a token opens its project.
const SHORTEST: u64 = 60;
const USUAL: u64 = 3_600;
const LONGEST: u64 = 7 * 24 * 3_600;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    token: String,
    expires_at: String,
}

pub async fn issue(request: &mut OperatorRequest<'_>, project: &str) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = request.body().await?;
    let [expiry] = fields(&body, ["expiry"])?;
    let mut check = Check::of(project);
    let expiry = check.field("expiry", expiry, |raw| whole_number(raw, SHORTEST..=LONGEST));
    let until = unix_seconds(clock::now()) + check.end(expiry.or(Some(USUAL)))?;
    let token = project_token::sign(&request.config.project_token_secrets, project, until);
    let issued = Issued {
        token: token.ok_or(table::NO_PROJECT_TOKENS)?,
        expires_at: rfc3339(UNIX_EPOCH + Duration::from_secs(until)),
    };
    Ok(Success::document("token-issued", &issued))
}
