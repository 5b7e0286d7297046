use super::*;
use crate::policy::Transport;

fn instances(count: usize) -> Vec<Arc<Instance>> {
    let instance = || Instance {
        id: InstanceId::new(),
        url: http::Uri::from_static("http://h/mcp"),
        transport: Transport::default(),
        draining: false,
        access: Arc::default(),
    };
    (0..count).map(|_| Arc::new(instance())).collect()
}

fn draining(instance: &Instance) -> Arc<Instance> {
    Arc::new(Instance { draining: true, ..instance.clone() })
}

/// How often each instance was drawn.
fn draws(known: &Instances, list: &[Arc<Instance>], count: usize) -> Vec<usize> {
    let mut drawn = vec![0; list.len()];
    for _ in 0..count {
        let id = known.draw(list).id;
        drawn[list.iter().position(|instance| instance.id == id).expect("one of the list")] += 1;
    }
    drawn
}

#[test]
fn the_less_loaded_of_two_is_drawn() {
    let (known, list) = (Instances::default(), instances(2));
    let busy = known.enter(list[0].id);
    assert_eq!(draws(&known, &list, 50), [0, 50]);
    drop(busy);
    let _other = known.enter(list[1].id);
    assert_eq!(draws(&known, &list, 50), [50, 0]);
}

#[test]
fn the_busiest_of_many_is_never_drawn_and_idle_ones_share() {
    let (known, list) = (Instances::default(), instances(4));
    let _busy = known.enter(list[2].id);
    let drawn = draws(&known, &list, 3_000);
    assert_eq!(drawn[2], 0);
    assert!([0, 1, 3].iter().all(|at| drawn[*at] > 700), "{drawn:?}");
}

#[test]
fn an_instance_that_cannot_be_reached_is_passed_over_while_another_lives() {
    let (known, list) = (Instances::default(), instances(2));
    known.failed(list[0].id, Failure::Unreachable);
    let _busy = known.enter(list[1].id);
    assert_eq!(draws(&known, &list, 50), [0, 50]);
    known.failed(list[1].id, Failure::Unreachable);
    assert_eq!(draws(&known, &list, 50), [50, 0]);
}

#[test]
fn an_instance_that_comes_back_gets_little_at_first() {
    let (known, list) = (Instances::default(), instances(2));
    known.failed(list[0].id, Failure::Unreachable);
    known.checked(list[0].id, None);
    let _five: Vec<_> = (0..5).map(|_| known.enter(list[1].id)).collect();
    assert_eq!(draws(&known, &list, 50), [0, 50], "a tenth of the share is full with the first request");
    let _more: Vec<_> = (0..7).map(|_| known.enter(list[1].id)).collect();
    assert_eq!(draws(&known, &list, 50), [50, 0]);
}

#[test]
fn a_draining_instance_gets_new_work_only_when_all_drain() {
    let (known, list) = (Instances::default(), instances(2));
    let one = vec![draining(&list[0]), Arc::clone(&list[1])];
    let _busy = known.enter(list[1].id);
    assert_eq!(draws(&known, &one, 50), [0, 50]);
    let both = vec![draining(&list[0]), draining(&list[1])];
    assert_eq!(draws(&known, &both, 50), [50, 0]);
}

#[test]
fn what_is_known_of_the_era_goes_with_an_instance_that_went_away() {
    let (known, list) = (Instances::default(), instances(1));
    known.set_modern(list[0].id, true);
    assert_eq!(known.modern(list[0].id), Some(true));
    known.failed(list[0].id, Failure::Unreachable);
    assert_eq!(known.modern(list[0].id), None);
}

#[test]
fn instances_that_the_policy_no_longer_has_are_forgotten() {
    let (known, list) = (Instances::default(), instances(2));
    list.iter().for_each(|instance| known.set_modern(instance.id, true));
    known.retain(|id| id == list[1].id);
    assert_eq!((known.modern(list[0].id), known.modern(list[1].id)), (None, Some(true)));
}
