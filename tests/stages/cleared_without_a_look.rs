// error[E0451]: fields `draft`, `asked` and `choices` of struct `Cleared` are private
use iris::exchange::Cleared;

pub fn clear(other: Cleared) -> Cleared {
    Cleared { ..other }
}
