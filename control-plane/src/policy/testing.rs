//! For tests: a data plane that is connected and answers questions, without a socket.

use tokio::task::JoinHandle;
use tollgate_proto::{
    DataPlaneId,
    policy::v1::{Question, Reply},
};

use super::{connected::Connection, inquiries::Inquiries};
use crate::app::App;

/// Connected until it is dropped.
pub(crate) struct Answering {
    task: JoinHandle<()>,
    _connection: Connection,
}

impl Answering {
    /// A data plane that answers so, or not at all.
    pub(crate) fn connect<A: Into<Option<Reply>>>(
        app: &App,
        id: DataPlaneId,
        answer: impl Fn(Question) -> A + Send + 'static,
    ) -> Self {
        let (asker, mut inquiries) = Inquiries::new();
        let connection = app.policy_changes.connected().enter(id, asker);
        let task = tokio::spawn(async move {
            loop {
                inquiries.arrive().await;
                while let Some(question) = inquiries.next() {
                    let id = question.id;
                    if let Some(reply) = answer(question).into() {
                        inquiries.answer(Reply { question: id, ..reply });
                    }
                }
            }
        });
        Self { task, _connection: connection }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}
