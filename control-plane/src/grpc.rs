//! The gRPC listener: policy stream and usage intake.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Serves data planes until `stopping`.
pub async fn serve(_app: Arc<App>, _listener: TcpListener, stopping: CancellationToken) {
    stopping.cancelled().await;
}
