/** Request smuggling, the long form: each framing with each packet. */
import { compareFramings } from './smuggling.ts'

compareFramings(1)
