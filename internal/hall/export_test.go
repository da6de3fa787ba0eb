package hall

const MaxRefused = maxRefused
