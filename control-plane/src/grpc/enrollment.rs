//! `EnrollmentService`: how data planes get their certificates.
//!
//! Invariant: no answer tells a token, and none is worth anything to who knows none.

use std::{error::Error, sync::Arc};

use secrecy::ExposeSecret as _;
use tollgate_proto::{
    DataPlaneId,
    enrollment::{
        REVOKED,
        v1::{
            Certificate, EnrollRequest, IntroduceRequest, IntroduceResponse, RenewRequest,
            enrollment_service_server::EnrollmentService,
        },
    },
    introduction::{self, NONCE_LEN},
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::admission::{Admitted, refusal};
use crate::{
    app::App,
    authority::{self, Authority, AuthorityError, Issued},
    data_planes::enrolment::{self, EnrolmentError},
    enrollment_tokens::TokenRefusal,
};

/// Certifies data planes.
#[derive(Debug)]
pub(super) struct Enrolling {
    app: Arc<App>,
}

impl Enrolling {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn answer(&self, issued: Result<Issued, EnrolmentError>) -> Result<Response<Certificate>, Status> {
        let issued = issued.map_err(status)?;
        let authority = authority::of(&self.app).await.map_err(|error| failed(&error))?;
        Ok(Response::new(Certificate {
            certificate: issued.certificate,
            authorities: authorities(authority),
            issued_at: issued.issued_at.timestamp(),
            expires_at: issued.expires_at.timestamp(),
        }))
    }
}

#[tonic::async_trait]
impl EnrollmentService for Enrolling {
    async fn introduce(&self, request: Request<IntroduceRequest>) -> Result<Response<IntroduceResponse>, Status> {
        let nonce = request.into_inner().nonce;
        if nonce.len() != NONCE_LEN {
            return Err(Status::invalid_argument(format!("`nonce` must have {NONCE_LEN} bytes")));
        }
        let Some(token) = &self.app.enrolment.shared_token else {
            return Err(Status::failed_precondition(
                "this control plane has no enrollment token in its settings: join with one of `tollgate data-planes enroll`",
            ));
        };
        let authority = authority::of(&self.app).await.map_err(|error| failed(&error))?;
        let proof = introduction::prove(token.expose_secret(), &nonce, &authority.certificates()[0]);
        Ok(Response::new(IntroduceResponse { authorities: authorities(authority), proof }))
    }

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<Certificate>, Status> {
        let EnrollRequest { token, data_plane_id, signing_request } = request.into_inner();
        let data_plane = Uuid::try_parse(&data_plane_id)
            .map(DataPlaneId::from)
            .map_err(|_| Status::invalid_argument("`data_plane_id` is no UUID"))?;
        self.answer(enrolment::enrol(&self.app, &token, data_plane, &signing_request).await).await
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Certificate>, Status> {
        let data_plane = Admitted::of(&self.app, &request).await?.data_plane();
        let signing_request = request.into_inner().signing_request;
        self.answer(enrolment::renew(&self.app, data_plane, &signing_request).await).await
    }
}

fn authorities(authority: &Authority) -> Vec<Vec<u8>> {
    authority.certificates().iter().map(|certificate| certificate.to_vec()).collect()
}

/// What a data plane is told. Every text of a refusal says what to do about it.
fn status(error: EnrolmentError) -> Status {
    let message = error.to_string();
    match error {
        EnrolmentError::Request(_) => Status::invalid_argument(message),
        EnrolmentError::Token(TokenRefusal::Storage(error)) | EnrolmentError::Storage(error) => failed(&error),
        EnrolmentError::Token(TokenRefusal::Unknown) => {
            refusal(Code::PermissionDenied, "enrollment_token_unknown", message)
        }
        EnrolmentError::Token(TokenRefusal::Expired(_)) => {
            refusal(Code::PermissionDenied, "enrollment_token_expired", message)
        }
        EnrolmentError::Token(TokenRefusal::Spent) => {
            refusal(Code::PermissionDenied, "enrollment_token_spent", message)
        }
        EnrolmentError::Revoked => refusal(Code::PermissionDenied, REVOKED, message),
        EnrolmentError::Taken(_) => refusal(Code::AlreadyExists, "data_plane_id_taken", message),
        EnrolmentError::Authority(AuthorityError::Storage(error)) => failed(&error),
        EnrolmentError::Authority(error) => {
            tracing::error!(error = &error as &dyn Error, "a data plane cannot be certified");
            Status::internal("the control plane cannot issue certificates: its log says why")
        }
    }
}

fn failed(error: &(dyn Error + 'static)) -> Status {
    tracing::warn!(error, "a data plane cannot be enrolled now");
    Status::unavailable("certificates cannot be issued now; try again")
}
