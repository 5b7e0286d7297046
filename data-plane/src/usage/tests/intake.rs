//! A usage service on a real socket that stores as the control plane does, and misbehaves when told to.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tollgate_proto::usage::v1::{
    ReportRequest, ReportResponse,
    usage_service_server::{UsageService, UsageServiceServer},
};
use tonic::{Request, Response, Status};

/// What the intake does to the next batches, one each; then it behaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Refuses without storing.
    Refuse,
    /// Stores, and the answer is lost.
    StoreAndFail,
    /// Stores a part and acknowledges that part.
    StoreHalf,
    /// Answers late.
    Delay(Duration),
}

/// What was stored; outlives the server.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How often each call was stored as new.
    pub stored: HashMap<String, usize>,
    pub mark: u64,
    pub batches: Vec<usize>,
    pub faults: Vec<Fault>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Intake(pub Arc<Mutex<Ledger>>);

/// A running server; dropping it cuts its connections.
pub(super) struct Running {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Intake {
    pub(super) async fn serve(&self, address: &str) -> Running {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let service = UsageServiceServer::new(self.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let http2 = http2::Builder::new(TokioExecutor::new());
                connections.spawn(http2.serve_connection(TokioIo::new(socket), service));
            }
        });
        Running { address, task }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl UsageService for Intake {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let mut records = request.into_inner().records;
        let fault = {
            let mut ledger = self.0.lock().expect("no panic");
            ledger.batches.push(records.len());
            ledger.faults.pop()
        };
        match fault {
            Some(Fault::Refuse) => return Err(Status::unavailable("told to refuse")),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::StoreHalf) => records.truncate(records.len().div_ceil(2)),
            Some(Fault::StoreAndFail) | None => {}
        }
        let mut ledger = self.0.lock().expect("no panic");
        assert!(records.is_sorted_by(|one, two| one.position < two.position), "positions ascend");
        for record in records {
            if record.position > ledger.mark {
                ledger.mark = record.position;
                *ledger.stored.entry(record.record.expect("a record").call_id).or_default() += 1;
            }
        }
        match fault {
            Some(Fault::StoreAndFail) => Err(Status::unknown("told to lose the answer")),
            _ => Ok(Response::new(ReportResponse { acknowledged_position: ledger.mark })),
        }
    }
}
