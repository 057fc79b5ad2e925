// error[E0616]: field `0` of struct `Room` is private
use iris::exchange::Room;
use iris::records::Record;

pub fn record(room: Room, record: Record) {
    room.0.record(record);
}
