//! Not written yet.
/// x
pub struct App;
pub struct ControlPlane;
pub struct StartError;
pub fn start() {}
