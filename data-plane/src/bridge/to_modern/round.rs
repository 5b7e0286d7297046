//! One round: what a server asked, and what the agent has answered so far.
//!
//! Invariant: the first answer to a question counts, and a retry has an answer to every question.

use super::{
    question::{InputRequired, Question},
    request::Retry,
};
use crate::mcp::json::{self, Raw};

/// How often a server may ask before its answer.
pub const ROUNDS_MAX: u8 = 16;

/// A round whose answers are awaited.
#[derive(Debug)]
pub struct Round {
    asked: InputRequired,
    answers: Vec<Option<Raw>>,
}

/// What an answer means for the round.
#[derive(Debug)]
pub enum Taken {
    /// Others are awaited.
    Waiting,
    /// It was the last: the request is sent again, with this.
    Complete(Retry),
    /// The call ends with this error.
    Ends(Raw),
}

impl Round {
    /// A round in which nothing is answered.
    #[must_use]
    pub fn new(asked: InputRequired) -> Self {
        let answers = asked.questions.iter().map(|_| None).collect();
        Self { asked, answers }
    }

    /// What is asked, by number.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.asked.questions
    }

    /// The retry of a round that asked nothing.
    #[must_use]
    pub fn unasked(&self) -> Option<Retry> {
        self.asked
            .questions
            .is_empty()
            .then(|| Retry { input_responses: None, request_state: self.asked.state.clone() })
    }

    /// Takes the agent's response to the question of this number. One to no question, or to an answered one, is nothing.
    pub fn take(&mut self, number: usize, outcome: &Result<Raw, Raw>) -> Taken {
        let (Some(question), Some(answer)) = (self.asked.questions.get(number), self.answers.get_mut(number)) else {
            return Taken::Waiting;
        };
        if answer.is_some() {
            return Taken::Waiting;
        }
        match question.answer(outcome) {
            Ok(taken) => *answer = Some(taken),
            Err(error) => return Taken::Ends(error),
        }
        if self.answers.iter().any(Option::is_none) {
            return Taken::Waiting;
        }
        let responses = json::object(|responses| {
            for (question, answer) in self.asked.questions.iter().zip(self.answers.iter().flatten()) {
                responses.raw(&question.key, answer);
            }
        });
        Taken::Complete(Retry { input_responses: Some(responses), request_state: self.asked.state.clone() })
    }
}
