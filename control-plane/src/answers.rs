//! What data planes say when all that are connected to this process are asked, and which of them said nothing.
//!
//! Invariant: a data plane that did not answer, or is connected to another control plane, is named: what it knows is not
//! taken for nothing.

use serde::Serialize;
use tollgate_proto::{
    DataPlaneId,
    policy::v1::{Reply, question::What},
};
use utoipa::ToSchema;

use crate::{app::App, caller::Caller, data_planes, db::TenantTx, error::ApiError, invisible, policy::Silence};

/// Characters of a reason that a data plane gives.
const DETAIL_CHARS_MAX: usize = 300;

/// A data plane that did not say what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unanswered {
    /// `dpl_…`.
    #[schema(value_type = String)]
    pub data_plane: DataPlaneId,
    /// Why, for programs.
    pub reason: UnansweredReason,
    /// Why, and what to do, in a sentence.
    pub detail: String,
}

/// Why a data plane did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnansweredReason {
    /// It was asked, and gave no answer in time.
    Silent,
    /// It was asked, and could not find out.
    Failed,
    /// It is connected to another control plane, which alone can ask it.
    ConnectedElsewhere,
}

/// What the data planes said.
#[derive(Debug)]
pub(crate) struct Answers {
    /// At least one.
    pub(crate) replies: Vec<Reply>,
    pub(crate) unanswered: Vec<Unanswered>,
    /// What they were asked for.
    about: &'static str,
}

impl Answers {
    /// Of everyone who is connected here. `about`: what is in the data planes' store, as `sessions`.
    ///
    /// # Errors
    /// [`ApiError::DataPlanesSilent`] when no data plane answers; or when Postgres is away.
    pub(crate) async fn to(
        app: &App,
        caller: &Caller,
        about: &'static str,
        what: &What,
        tx: Option<&mut TenantTx>,
    ) -> Result<Self, ApiError> {
        let mut answers = Self { replies: Vec::new(), unanswered: Vec::new(), about };
        let asked = app.policy_changes.connected().ask(caller.tenant, what).await;
        let here: Vec<DataPlaneId> = asked.iter().map(|(data_plane, _)| *data_plane).collect();
        for (data_plane, reply) in asked {
            match reply {
                Ok(reply) => answers.replies.push(reply),
                Err(silence) => answers.unanswered.push(Unanswered::asked(data_plane, &silence)),
            }
        }
        let status = match tx {
            Some(tx) => data_planes::policy_status(tx).await?,
            None => data_planes::policy_status(&mut app.db.tenant(caller.tenant).await?).await?,
        };
        let connected = status.data_planes.into_iter().filter(|data_plane| data_plane.connected);
        let elsewhere = connected.map(|data_plane| data_plane.id).filter(|id| !here.contains(id));
        answers.unanswered.extend(elsewhere.map(Unanswered::elsewhere));
        if answers.replies.is_empty() {
            Err(answers.silent(&format!("nothing is known of {about}")))
        } else {
            Ok(answers)
        }
    }

    /// What is missing, and why.
    pub(crate) fn silent(&self, what: &str) -> ApiError {
        let why = match &self.unanswered[..] {
            [] => format!(
                "no data plane is connected: {} are in the data planes' store. Start one, or wait until it is back",
                self.about
            ),
            all => all.iter().map(|one| format!("{}: {}", one.data_plane, one.detail)).collect::<Vec<_>>().join("; "),
        };
        ApiError::DataPlanesSilent(format!("{what}: {why}"))
    }
}

impl Unanswered {
    fn asked(data_plane: DataPlaneId, silence: &Silence) -> Self {
        let reason = match silence {
            Silence::Busy | Silence::Late | Silence::Gone => UnansweredReason::Silent,
            Silence::Failed(_) => UnansweredReason::Failed,
        };
        let detail = invisible::visible(&silence.to_string(), DETAIL_CHARS_MAX);
        Self { data_plane, reason, detail: format!("{detail}; try again") }
    }

    fn elsewhere(data_plane: DataPlaneId) -> Self {
        let detail = "it is connected to another control plane; ask that one, unless it shares its store with one that \
                      is connected here";
        Self { data_plane, reason: UnansweredReason::ConnectedElsewhere, detail: detail.to_owned() }
    }
}
