use super::*;

fn what() -> What {
    What::ListSessions(tollgate_proto::policy::v1::ListSessions::default())
}

/// Asks, and gives the others a turn, so that the question is under way.
async fn asked(asker: &Asker) -> tokio::task::JoinHandle<Result<Reply, Silence>> {
    let asker = asker.clone();
    let asking = tokio::spawn(async move { asker.ask(TenantId::new(), what()).await });
    tokio::task::yield_now().await;
    asking
}

#[tokio::test]
async fn an_answer_reaches_whoever_asked_and_no_other() {
    let (asker, mut inquiries) = Inquiries::new();
    let (first, second) = (asked(&asker).await, asked(&asker).await);
    inquiries.arrive().await;
    inquiries.arrive().await;
    let ids = [inquiries.next().expect("the first").id, inquiries.next().expect("the second").id];
    let reply = |question, failure: &str| Reply { question, failure: failure.to_owned(), ..Reply::default() };
    inquiries.answer(reply(99, ""));
    inquiries.answer(reply(ids[1], "the store is away"));
    inquiries.answer(reply(ids[0], ""));
    assert_eq!(first.await.unwrap(), Ok(reply(ids[0], "")));
    assert_eq!(second.await.unwrap(), Err(Silence::Failed("the store is away".to_owned())));
}

#[tokio::test]
async fn nobody_waits_longer_than_a_moment_and_what_nobody_waits_for_is_not_asked() {
    let (asker, mut inquiries) = Inquiries::new();
    assert_eq!(asker.ask(TenantId::new(), what()).await, Err(Silence::Late));
    inquiries.arrive().await;
    assert!(inquiries.is_waiting());
    assert_eq!(inquiries.next(), None);
}

#[tokio::test]
async fn more_questions_than_a_stream_can_bear_are_turned_away_and_so_are_those_of_a_stream_that_ended() {
    let (asker, inquiries) = Inquiries::new();
    let mut waiting = Vec::new();
    for _ in 0..WAITING_MAX {
        waiting.push(asked(&asker).await);
    }
    assert_eq!(asker.ask(TenantId::new(), what()).await, Err(Silence::Busy));
    drop(inquiries);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Err(Silence::Gone));
    }
    assert_eq!(asker.ask(TenantId::new(), what()).await, Err(Silence::Gone));
}

#[tokio::test]
async fn a_data_plane_that_answers_nothing_is_not_asked_without_end() {
    let (asker, mut inquiries) = Inquiries::new();
    let mut waiting = Vec::new();
    for _ in 0..UNANSWERED_MAX {
        waiting.push(asked(&asker).await);
        inquiries.arrive().await;
        assert!(inquiries.next().is_some());
    }
    let one_more = asked(&asker).await;
    inquiries.arrive().await;
    assert_eq!(inquiries.next(), None);
    assert_eq!(one_more.await.unwrap(), Err(Silence::Gone), "told at once");
    for one in waiting {
        assert_eq!(one.await.unwrap(), Err(Silence::Late));
    }
    let _later = asked(&asker).await;
    inquiries.arrive().await;
    assert!(inquiries.next().is_some(), "nobody waits for the others any more");
}
