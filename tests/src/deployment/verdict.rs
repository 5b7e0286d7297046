//! What a deployment must have been like, whatever the story was: its logs hold no error, no panic and no secret.
//!
//! Invariant: this is looked at when the deployment ends, so no story can forget it.

use std::sync::PoisonError;

use nix::sys::signal::Signal;

use super::Deployment;
use crate::process::Process;

impl Drop for Deployment {
    fn drop(&mut self) {
        // Data planes first: what they still have to deliver, they deliver.
        for service in self.services.iter_mut().rev() {
            service.end(|process: &mut Process| {
                if process.is_running() && !std::thread::panicking() {
                    let _exit = process.stop(Signal::SIGTERM);
                }
            });
        }
        if std::thread::panicking() {
            for service in &self.services {
                eprintln!("--- log of {}\n{}", service.name, service.log);
            }
            return;
        }
        for service in &self.services {
            for line in service.log.lines() {
                assert!(!self.is_alarming(line), "{} logged: {line}", service.name);
                assert!(!self.secrets.are_in(line), "{} logged a secret: {line}", service.name);
            }
        }
    }
}

impl Deployment {
    fn is_alarming(&self, line: &str) -> bool {
        let alarming = line.contains("ERROR") || line.contains("panicked at");
        let tolerated = self.tolerated.lock().unwrap_or_else(PoisonError::into_inner);
        alarming && !tolerated.iter().any(|text| line.contains(text))
    }
}
