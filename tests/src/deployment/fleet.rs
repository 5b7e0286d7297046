//! Data planes that come and go while a deployment runs.

use std::{path::PathBuf, process::Command};

use super::{Deployment, Service, free_address};
use crate::wait::eventually_true;

impl Deployment {
    /// Starts another data plane with an enrollment token of its own, and answers its index. It may be refused.
    ///
    /// # Panics
    /// When the deployment has no data plane of its own that it could be like.
    pub fn join(&mut self, token: &str) -> usize {
        self.remember_secret(token);
        let first = self.data_plane(0);
        let index = self.services.len() - self.control_planes();
        let ((mcp_url, data), (ops_url, ops)) = (free_address(), free_address());
        let own = [
            ("TOLLGATE_DATA_ADDR", data),
            ("TOLLGATE_OPS_ADDR", ops),
            ("TOLLGATE_ENROLLMENT_TOKEN", token.to_owned()),
            ("TOLLGATE_STATE_DIR", self.folder().join(format!("data-plane-{index}")).display().to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let mut service = Service {
            name: format!("tollgate data-plane {index}"),
            arguments: first.arguments.clone(),
            environment: first.environment.iter().cloned().chain(own).collect(),
            ops_url,
            mcp_url: Some(mcp_url),
            process: None,
            log: String::new(),
        };
        service.spawn();
        self.services.push(service);
        index
    }

    /// Starts data plane `index` again and does not wait: it may be refused, or have nothing to serve.
    pub fn spawn_data_plane(&mut self, index: usize) {
        let position = self.position(index);
        self.services[position].spawn();
    }

    /// Waits until data plane `index` is ready.
    pub async fn data_plane_ready(&mut self, index: usize) {
        let position = self.position(index);
        self.services[position].ready().await;
    }

    /// Waits until data plane `index` has logged something, in any of its runs.
    ///
    /// # Panics
    /// When it does not.
    pub async fn data_plane_logs(&self, index: usize, text: &str) {
        let service = self.data_plane(index);
        let logged = || async {
            let now = service.process.as_ref().map(|process| process.stderr()).unwrap_or_default();
            service.log.contains(text) || now.contains(text)
        };
        eventually_true(&format!("{} to log {text:?}", service.name), logged).await;
    }

    /// Sets a variable for the next start of data plane `index`; an empty one is none.
    pub fn set_variable(&mut self, index: usize, name: &str, value: &str) {
        let position = self.position(index);
        self.services[position].environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where data plane `index` keeps what outlives it.
    #[must_use]
    pub fn state_dir(&self, index: usize) -> PathBuf {
        self.folder().join(format!("data-plane-{index}"))
    }

    /// Runs a data plane that is expected to end by itself, and answers how it ended and what it said.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn data_plane_fails(&self, index: usize) -> crate::binary::CommandOutput {
        let service = self.data_plane(index);
        let mut command = Command::new(crate::binary::tollgate_binary());
        command.args(&service.arguments).envs(service.environment.iter().map(|(name, value)| (name, value)));
        crate::binary::run(command, Vec::new()).await
    }
}
