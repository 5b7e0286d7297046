//! The functions that run inside Redis, and how they are called.
//!
//! Invariant: one round trip, `EVALSHA`, once a node knows the function; `EVAL` teaches it to a node that does not.

use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind, ToRedisArgs};

use super::link::Link;

const CLOCK: &str = include_str!("../clock.lua");
const RING: &str = include_str!("../ring.lua");
const ADMIT: &str = include_str!("../admit.lua");
const PLACES: &str = include_str!("../places.lua");
const BUDGET: &str = include_str!("../budget.lua");
const MAILBOX: &str = include_str!("../mailbox.lua");
const BRIDGE_LEG: &str = include_str!("../bridge_leg.lua");
const SESSION: &str = include_str!("../session.lua");

/// All functions of the store.
#[derive(Debug)]
pub(super) struct Functions {
    pub(super) admit_alone: Function,
    pub(super) admit_in_session: Function,
    pub(super) settle: Function,
    pub(super) keep_places: Function,
    pub(super) create_session: Function,
    pub(super) put_field: Function,
    pub(super) subscribe: Function,
    pub(super) unsubscribe: Function,
    pub(super) remove_session: Function,
    pub(super) due: Function,
    pub(super) expire_session: Function,
    pub(super) use_bridge_leg: Function,
    pub(super) put_bridge_leg: Function,
    pub(super) set_bridge_level: Function,
    pub(super) expire_bridge_leg: Function,
    pub(super) remove_bridge_leg: Function,
    pub(super) look_at_sessions: Function,
    pub(super) look_at_limits: Function,
    pub(super) hold: Function,
    pub(super) is_held: Function,
    pub(super) claim: Function,
    pub(super) lease: Function,
    pub(super) end_lease: Function,
    pub(super) join: Function,
    pub(super) leave: Function,
    pub(super) send_mail: Function,
    pub(super) receive_mail: Function,
}

#[derive(Debug)]
pub(super) struct Function {
    code: String,
    sha1: String,
}

/// A function with its keys and arguments.
pub(super) struct Call<'a> {
    function: &'a Function,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Functions {
    /// The functions by Redis' own clock.
    pub(super) fn new() -> Self {
        Self::with_clock(CLOCK)
    }

    /// The functions by another clock: Lua that defines `now_exactly` and `now_s`.
    pub(super) fn with_clock(clock: &str) -> Self {
        Self {
            admit_alone: Function::new(&[clock, RING, PLACES, BUDGET, include_str!("../admit_alone.lua"), ADMIT]),
            admit_in_session: Function::new(&[
                clock,
                SESSION,
                RING,
                PLACES,
                BUDGET,
                include_str!("../admit_in_session.lua"),
                ADMIT,
            ]),
            settle: Function::new(&[clock, RING, BUDGET, include_str!("../settle.lua")]),
            keep_places: Function::new(&[clock, PLACES, include_str!("../keep_places.lua")]),
            create_session: Function::new(&[clock, SESSION, include_str!("../create_session.lua")]),
            put_field: Function::new(&[clock, SESSION, include_str!("../put_field.lua")]),
            subscribe: Function::new(&[clock, SESSION, include_str!("../subscribe.lua")]),
            unsubscribe: Function::new(&[clock, SESSION, include_str!("../unsubscribe.lua")]),
            remove_session: Function::new(&[clock, SESSION, include_str!("../remove_session.lua")]),
            due: Function::new(&[clock, include_str!("../due.lua")]),
            expire_session: Function::new(&[clock, SESSION, include_str!("../expire_session.lua")]),
            use_bridge_leg: Function::new(&[clock, BRIDGE_LEG, include_str!("../use_bridge_leg.lua")]),
            put_bridge_leg: Function::new(&[clock, BRIDGE_LEG, include_str!("../put_bridge_leg.lua")]),
            set_bridge_level: Function::new(&[clock, BRIDGE_LEG, include_str!("../set_bridge_level.lua")]),
            expire_bridge_leg: Function::new(&[clock, BRIDGE_LEG, include_str!("../expire_bridge_leg.lua")]),
            remove_bridge_leg: Function::new(&[clock, BRIDGE_LEG, include_str!("../remove_bridge_leg.lua")]),
            look_at_sessions: Function::new(&[clock, include_str!("../look_at_sessions.lua")]),
            look_at_limits: Function::new(&[clock, RING, include_str!("../look_at_limits.lua")]),
            hold: Function::new(&[clock, include_str!("../hold.lua")]),
            is_held: Function::new(&[clock, include_str!("../is_held.lua")]),
            claim: Function::new(&[clock, include_str!("../claim.lua")]),
            lease: Function::new(&[clock, include_str!("../lease.lua")]),
            end_lease: Function::new(&[include_str!("../end_lease.lua")]),
            join: Function::new(&[clock, include_str!("../join.lua")]),
            leave: Function::new(&[clock, include_str!("../leave.lua")]),
            send_mail: Function::new(&[clock, MAILBOX, include_str!("../send_mail.lua")]),
            receive_mail: Function::new(&[clock, MAILBOX, include_str!("../receive_mail.lua")]),
        }
    }
}

impl Function {
    fn new(parts: &[&str]) -> Self {
        let code = parts.concat();
        let sha1 = Script::new(&code).get_hash().to_owned();
        Self { code, sha1 }
    }

    pub(super) const fn call(&self) -> Call<'_> {
        Call { function: self, keys: Vec::new(), args: Vec::new() }
    }
}

impl Call<'_> {
    pub(super) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    pub(super) async fn run<T: FromRedisValue>(&self, link: &mut Link) -> RedisResult<T> {
        match link.query(&self.command("EVALSHA", &self.function.sha1)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.query(&self.command("EVAL", &self.function.code)).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, function: &str) -> Cmd {
        let mut command = ::redis::cmd(name);
        command.arg(function).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}
