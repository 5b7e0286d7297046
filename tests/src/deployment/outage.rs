//! Parts of a deployment that fail, and come back.
//!
//! Invariant: a part fails as a stranger would see it fail: it is killed, it stands still with its connections
//! open, or its connections are cut.

use std::time::Instant;

use http::Method;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Deployment;
use crate::{http::Answer, process::Process};

/// A process of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A control plane.
    ControlPlane(usize),
    /// A data plane.
    DataPlane(usize),
}

/// What happens to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// A process is killed, and started again.
    Crash(Part),
    /// A process stands still, and goes on.
    Freeze(Part),
    /// A data plane reaches its control plane no more.
    WithoutControlPlane(usize),
    /// A data plane reaches Redis no more.
    WithoutRedis(usize),
    /// No control plane reaches Postgres.
    Database,
    /// Redis is killed with all that it held, and started again.
    Redis,
}

impl Deployment {
    /// Lets it happen.
    ///
    /// # Panics
    /// When the plan did not say that it would.
    pub async fn strike(&mut self, outage: Outage) {
        match outage {
            Outage::Crash(part) => self.crash(part),
            Outage::Freeze(part) => self.freeze(part),
            Outage::WithoutControlPlane(index) => self.wires.to_control_planes[index].cut().await,
            Outage::WithoutRedis(index) => self.wires.to_redis[index].cut().await,
            Outage::Database => self.take_database_away().await,
            Outage::Redis => self.crash_redis(),
        }
    }

    /// Lets it be over.
    ///
    /// # Panics
    /// When it did not happen.
    pub async fn recover(&mut self, outage: Outage) {
        match outage {
            Outage::Crash(part) => self.restart(part).await,
            Outage::Freeze(part) => self.thaw(part),
            Outage::WithoutControlPlane(index) => self.wires.to_control_planes[index].mend(),
            Outage::WithoutRedis(index) => self.wires.to_redis[index].mend(),
            Outage::Database => self.give_database_back(),
            Outage::Redis => self.restart_redis().await,
        }
    }

    /// `kill -9`.
    pub fn crash(&mut self, part: Part) {
        let position = self.position_of(part);
        self.services[position].end(Process::crash);
    }

    /// Starts what has crashed again and waits until it is ready.
    pub async fn restart(&mut self, part: Part) {
        let position = self.position_of(part);
        self.services[position].start().await;
    }

    /// Lets it stand still: it answers nobody, and nobody is told.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, part: Part) {
        self.signal(part, Signal::SIGSTOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self, part: Part) {
        self.signal(part, Signal::SIGCONT);
    }

    /// `kill -9` of Redis, with all that it held.
    ///
    /// # Panics
    /// When the deployment has none.
    pub fn crash_redis(&mut self) {
        self.redis.as_mut().expect("the deployment has a Redis").crash();
    }

    /// Starts Redis again, empty, and waits until it answers.
    ///
    /// # Panics
    /// When the deployment has none, or it runs.
    pub async fn restart_redis(&mut self) {
        self.redis.as_mut().expect("the deployment has a Redis").restart().await;
    }

    /// `kill -9` of the Postgres that the deployment has alone.
    ///
    /// # Panics
    /// When the plan did not give it one.
    pub fn crash_postgres(&mut self) {
        self.database.as_mut().expect("the deployment has a database").crash();
    }

    /// Starts Postgres again, with all that it had committed, and waits until it answers.
    ///
    /// # Panics
    /// When the plan did not give the deployment one.
    pub async fn restart_postgres(&mut self) {
        self.database.as_mut().expect("the deployment has a database").restart().await;
    }

    /// `kill -9` of the Redis that counts, whose replica takes over. Only what was written between the two moments that this
    /// answers can be lost.
    ///
    /// # Panics
    /// When the deployment has no replica.
    pub async fn fail_redis_over(&mut self) -> (Instant, Instant) {
        let redis = self.redis.as_mut().expect("the deployment has a Redis");
        let lost = redis.crash_primary();
        let between = lost.between;
        redis.take_over(lost).await;
        between
    }

    /// Has the Redis that counts and its replica change places, as for maintenance.
    ///
    /// # Panics
    /// When the deployment has no replica.
    pub async fn hand_redis_over(&mut self) {
        self.redis.as_mut().expect("the deployment has a Redis").hand_over().await;
    }

    /// As [`Self::rest`], of the control plane `index` itself.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn rest_at(
        &self,
        index: usize,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let base = if index == 0 { self.control_url.clone() } else { self.second_control_url() };
        self.ask(&base, method, path, headers, body).await
    }

    fn signal(&self, part: Part, signal: Signal) {
        self.services[self.position_of(part)].process.as_ref().expect("the process runs").signal(signal);
    }

    fn position_of(&self, part: Part) -> usize {
        match part {
            Part::ControlPlane(index) => index,
            Part::DataPlane(index) => self.position(index),
        }
    }
}
