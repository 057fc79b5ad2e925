//! Who gets room, who waits for it, and who is refused.

use std::task::Poll;

use futures_util::poll;

use super::*;

const MIB: usize = 1 << 20;

/// With seven parts of eight for long bodies: 56 MiB.
fn memory() -> Memory {
    Memory::new(64 * MIB)
}

async fn held(memory: &Memory, bytes: usize) -> Hold {
    let mut hold = memory.hold();
    hold.reserve(bytes).await.unwrap();
    hold
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_waits_in_order_and_is_refused_in_the_end() {
    let memory = memory();
    let first = held(&memory, 50 * MIB).await;
    let (mut second, mut third) = (memory.hold(), memory.hold());
    {
        let mut big = Box::pin(second.reserve(20 * MIB));
        let mut less = Box::pin(third.reserve(5 * MIB));
        assert_eq!(poll!(&mut big), Poll::Pending);
        // There would be room, but the older one would never have it.
        assert_eq!(poll!(&mut less), Poll::Pending);
        assert_eq!(memory.usage().waiting, 2);
        drop(first);
        assert_eq!(big.await, Ok(()));
        assert_eq!(less.await, Ok(()));
    }
    assert_eq!(memory.usage().held, 25 * MIB);
    let mut fourth = memory.hold();
    let refused = memory.usage().refused;
    assert_eq!(fourth.reserve(40 * MIB).await, Err(Full));
    assert_eq!(memory.usage().refused, refused + 1);
    drop((second, third, fourth));
    let usage = memory.usage();
    assert_eq!((usage.held, usage.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn short_bodies_have_a_share_of_their_own() {
    let memory = memory();
    let long = held(&memory, 56 * MIB).await;
    let mut waits = memory.hold();
    let mut waiting = Box::pin(waits.reserve(MIB));
    assert_eq!(poll!(&mut waiting), Poll::Pending);
    let mut short = Vec::new();
    for _ in 0..16 {
        short.push(held(&memory, MIB / 2).await);
    }
    let mut one_more = memory.hold();
    assert!(!one_more.try_reserve(1));
    assert!(one_more.reserve(1).await.is_err());
    drop(long);
    waiting.await.unwrap();
    // Nobody waits: they may have more than their share.
    assert!(one_more.try_reserve(MIB / 2));
}

#[tokio::test(start_paused = true)]
async fn of_bodies_that_wait_for_each_other_the_youngest_is_refused() {
    let memory = memory();
    let (mut old, mut middle, mut young) = (
        held(&memory, 20 * MIB).await,
        held(&memory, 20 * MIB).await,
        held(&memory, 16 * MIB).await,
    );
    let mut of_old = Box::pin(old.reserve(40 * MIB));
    let mut of_young = Box::pin(young.reserve(20 * MIB));
    assert_eq!(poll!(&mut of_old), Poll::Pending);
    assert_eq!(poll!(&mut of_young), Poll::Pending);
    {
        // Until now the second could have come to its end.
        let mut of_middle = Box::pin(middle.reserve(30 * MIB));
        assert_eq!(poll!(&mut of_middle), Poll::Pending);
        assert_eq!(of_young.await, Err(Full));
        drop(young);
        // The older one comes first, but there is no room for it as long as this one is there.
        assert_eq!(of_middle.await, Ok(()));
        assert_eq!(poll!(&mut of_old), Poll::Pending);
    }
    drop(middle);
    assert_eq!(of_old.await, Ok(()));
    assert_eq!(memory.usage().held, 40 * MIB);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_begun_goes_on_before_one_that_waits_for_it_to_end() {
    let memory = memory();
    let first = held(&memory, 40 * MIB).await;
    let (mut older, mut younger) = (memory.hold(), memory.hold());
    let mut of_older = Box::pin(older.reserve(50 * MIB));
    assert_eq!(poll!(&mut of_older), Poll::Pending);
    assert!(younger.try_reserve(10 * MIB));
    let mut of_younger = Box::pin(younger.reserve(20 * MIB));
    assert_eq!(poll!(&mut of_younger), Poll::Pending);
    drop(first);
    assert_eq!(of_younger.await, Ok(()));
    assert_eq!(poll!(&mut of_older), Poll::Pending);
    drop(younger);
    assert_eq!(of_older.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_waiting_holds_up_nobody() {
    let memory = memory();
    let first = held(&memory, 50 * MIB).await;
    let (mut second, mut third) = (memory.hold(), memory.hold());
    let mut big = Box::pin(second.reserve(50 * MIB));
    let mut less = Box::pin(third.reserve(6 * MIB));
    assert_eq!(poll!(&mut big), Poll::Pending);
    assert_eq!(poll!(&mut less), Poll::Pending);
    drop(big);
    assert_eq!(less.await, Ok(()));
    assert_eq!(second.bytes(), 0);
    drop((first, second, third));
    assert_eq!(memory.usage().held, 0);
}

#[tokio::test]
async fn bytes_count_for_as_long_as_a_part_of_them_is_held() {
    let memory = memory();
    let mut hold = held(&memory, 10 * MIB).await;
    hold.shrink(6 * MIB);
    assert_eq!(memory.usage().held, 6 * MIB);
    let bytes = hold.keep(Bytes::from(vec![7; 2 * MIB]));
    let part = bytes.slice(..1);
    drop(bytes);
    assert_eq!((memory.usage().held, part[0]), (6 * MIB, 7));
    drop(part);
    assert_eq!(memory.usage().held, 0);
}

#[tokio::test(start_paused = true)]
async fn another_bound_lets_those_go_on_that_wait() {
    let memory = memory();
    assert_eq!(memory.longest(), 56 * MIB / WEIGHT);
    let _first = held(&memory, 50 * MIB).await;
    let mut second = memory.hold();
    let mut waiting = Box::pin(second.reserve(50 * MIB));
    assert_eq!(poll!(&mut waiting), Poll::Pending);
    memory.set_bound(256 * MIB);
    assert_eq!(waiting.await, Ok(()));
    memory.set_bound(0);
    assert_eq!(memory.bound(), LEAST);
    assert!(!memory.hold().try_reserve(MIB));
}
