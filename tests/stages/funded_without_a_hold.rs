// error[E0451]: fields `asked`, `entry`, `attempt`, `started`, `outbound` and `warnings` of struct `Funded` are private
use iris::exchange::Funded;

pub fn fund<'c>(other: Funded<'c>) -> Funded<'c> {
    Funded { ..other }
}
