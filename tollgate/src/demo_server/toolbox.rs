//! The tools, the resource and the prompt that the demo server offers.
//!
//! Invariant: every tool says truthfully in its annotations what it may do, and none reaches outside the process.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::{tool::InputResponses, wrapper::Parameters},
    model::{
        CallToolResponse, Implementation, ListResourcesResult, PaginatedRequestParams, ProgressNotificationParam,
        PromptMessage, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
        Role, ServerCapabilities, ServerConfig,
    },
    prompt, prompt_handler, prompt_router,
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{counters::Counters, order};

const ABOUT_URI: &str = "demo://about";
const ABOUT: &str =
    "The demo server is a small toolbox to try Tollgate with. It keeps nothing on disk and calls nobody.";
const DURATION_MAX: Duration = Duration::from_secs(60);

/// One toolbox: a legacy session's own, or a modern request's.
#[derive(Debug, Clone)]
pub(crate) struct Toolbox {
    counters: Arc<Counters>,
    /// The counter of this session, made when it is first used.
    own_counter: Arc<OnceLock<String>>,
}

/// Whether the caller speaks a revision with sessions (before 2026-07-28).
pub(crate) fn is_legacy(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_none_or(|version| version.has_initialize())
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Echo {
    /// What to say back
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Summands {
    /// First number
    a: f64,
    /// Second number
    b: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Sum {
    /// a + b
    #[schemars(with = "f64")]
    sum: Number,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Countdown {
    /// Where to start, 1 to 100
    #[schemars(range(min = 1, max = 100))]
    from: u32,
    /// Milliseconds between two steps; the whole countdown takes at most a minute
    #[serde(default = "interval_ms_default")]
    interval_ms: u64,
}

const fn interval_ms_default() -> u64 {
    200
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Wait {
    /// How long to take, 0 to 60 seconds
    #[schemars(range(min = 0, max = 60))]
    seconds: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Order {
    /// What to order
    item: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Which {
    /// The counter's handle, as counter_increment returned it; in a session, leave it out for the session's own
    counter: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Step {
    /// The counter's handle; leave it out for the session's own or, without sessions, to start a new one
    counter: Option<String>,
    /// How much to add
    #[serde(default = "step_default")]
    by: i64,
}

const fn step_default() -> i64 {
    1
}

#[derive(Debug, Serialize, JsonSchema)]
struct Count {
    /// The counter's handle: name it in the next call
    counter: String,
    /// Its value now
    value: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Topic {
    /// What the tour should show
    topic: Option<String>,
}

#[tool_router]
impl Toolbox {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, own_counter: Arc::default() }
    }

    /// Say a text back.
    #[tool(annotations(
        title = "Echo",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    /// Add two numbers.
    #[tool(annotations(
        title = "Add",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn add(&self, Parameters(Summands { a, b }): Parameters<Summands>) -> Json<Sum> {
        Json(Sum { sum: number(a + b) })
    }

    /// Count down to zero, reporting progress at each step.
    #[tool(annotations(
        title = "Countdown",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn countdown(
        &self,
        Parameters(Countdown { from, interval_ms }): Parameters<Countdown>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let interval = Duration::from_millis(interval_ms);
        if !(1..=100).contains(&from) || interval.saturating_mul(from) > DURATION_MAX {
            return Err(ErrorData::invalid_params("count from 1 to 100, and for a minute at most", None));
        }
        let token = context.meta.get_progress_token();
        for left in (0..from).rev() {
            wait(interval, &context).await?;
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(from - left))
                    .with_total(f64::from(from))
                    .with_message(format!("{left} left"));
                // A client that is gone is noticed by the cancelled wait.
                let _ = context.peer.notify_progress(progress).await;
            }
        }
        Ok(format!("Counted down from {from}."))
    }

    /// Take a while to answer.
    #[tool(annotations(
        title = "Slow",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn slow(
        &self,
        Parameters(Wait { seconds }): Parameters<Wait>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= DURATION_MAX);
        let duration = duration.ok_or_else(|| ErrorData::invalid_params("`seconds` must be 0 to 60", None))?;
        wait(duration, &context).await?;
        Ok(format!("Took {seconds} s."))
    }

    /// Place a pretended order after asking the user to confirm it.
    #[tool(annotations(
        title = "Confirm an order",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn confirm_order(
        &self,
        Parameters(Order { item }): Parameters<Order>,
        InputResponses(answers): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        order::confirm(&item, answers, &context).await
    }

    /// Add to a counter and return its value and handle.
    #[tool(annotations(
        title = "Increment a counter",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn counter_increment(
        &self,
        Parameters(Step { counter, by }): Parameters<Step>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Count>, ErrorData> {
        let counter = match counter {
            Some(counter) => counter,
            None if is_legacy(&context) => self.own_counter(),
            None => self.counters.create(),
        };
        self.counters.add(&counter, by).map(|value| Json(Count { counter, value })).ok_or_else(unknown_counter)
    }

    /// Read a counter.
    #[tool(annotations(
        title = "Read a counter",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn counter_read(
        &self,
        Parameters(Which { counter }): Parameters<Which>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Count>, ErrorData> {
        let counter = self.named_counter(counter, &context)?;
        self.counters.read(&counter).map(|value| Json(Count { counter, value })).ok_or_else(unknown_counter)
    }

    /// Set a counter back to zero; without one that is named or the session's own, all of them. What they counted is lost.
    #[tool(annotations(
        title = "Reset a counter",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn reset_counter(
        &self,
        Parameters(Which { counter }): Parameters<Which>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        if counter.is_none() && !is_legacy(&context) {
            return Ok(format!("Reset {} counters to 0.", self.counters.reset_all()));
        }
        let counter = self.named_counter(counter, &context)?;
        let lost = self.counters.reset(&counter).ok_or_else(unknown_counter)?;
        Ok(format!("Reset to 0; it was {lost}."))
    }

    fn own_counter(&self) -> String {
        self.own_counter.get_or_init(|| self.counters.create()).clone()
    }

    fn named_counter(
        &self,
        counter: Option<String>,
        context: &RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        match counter {
            Some(counter) => Ok(counter),
            None if is_legacy(context) => Ok(self.own_counter()),
            None => Err(ErrorData::invalid_params("name the `counter` that counter_increment returned", None)),
        }
    }
}

#[prompt_router]
impl Toolbox {
    /// Ask for a tour of the demo server.
    #[prompt]
    async fn tour(&self, Parameters(Topic { topic }): Parameters<Topic>) -> Vec<PromptMessage> {
        let topic = topic.unwrap_or_else(|| "every tool you may call".to_owned());
        vec![PromptMessage::new_text(
            Role::User,
            format!("Show me {topic} on the demo server, one call at a time, and say what each one did."),
        )]
    }
}

#[tool_handler]
#[prompt_handler]
impl ServerHandler for Toolbox {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("tollgate-demo", env!("CARGO_PKG_VERSION")).with_title("Tollgate demo"),
            )
            .with_instructions("A toolbox to try a gateway with. Everything stays in this process.")
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let about = Resource::new(ABOUT_URI, "about")
            .with_title("About this server")
            .with_description("What the demo server is")
            .with_mime_type("text/plain");
        Ok(ListResourcesResult::with_all_items(vec![about]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != ABOUT_URI {
            return Err(ErrorData::resource_not_found(format!("there is no {}", request.uri), None));
        }
        let contents = ResourceContents::text(ABOUT, ABOUT_URI).with_mime_type("text/plain");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

async fn wait(duration: Duration, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    tokio::select! {
        () = tokio::time::sleep(duration) => Ok(()),
        () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
    }
}

/// A whole number is written without a fraction; what is beyond all numbers, which JSON cannot say, as zero.
fn number(value: f64) -> Number {
    let whole = format!("{value:.0}").parse::<i64>().ok().filter(|_| value.fract() == 0.0);
    whole.map(Number::from).or_else(|| Number::from_f64(value)).unwrap_or_else(|| Number::from(0))
}

fn unknown_counter() -> ErrorData {
    ErrorData::invalid_params("there is no such counter, or it was too old to be kept", None)
}
