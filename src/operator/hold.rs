//! Holding a project: its events become dead letters until an operator lets them go.

use serde::Serialize;

use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::delivery::shared_gate;
use crate::identifier;
use crate::svix::gate::MAX_HELD;

#[derive(Serialize)]
struct Hold<'a> {
    project: &'a str,
    held: bool,
}

/// Holds a project, or lets it go. Its letters stay letters until they are replayed.
pub async fn hold(
    request: &mut OperatorRequest<'_>,
    project: &str,
    hold: bool,
) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let invalid = |reason| Problem::invalid("project", reason);
    identifier::check_project(project).map_err(invalid)?;
    if !shared_gate::hold(project, hold).await? {
        return Err(invalid(format!("would be one more than the {MAX_HELD} that can be held")));
    }
    let name = if hold { "project-held" } else { "project-released" };
    Ok(Success::document(name, &Hold { project, held: hold }))
}
