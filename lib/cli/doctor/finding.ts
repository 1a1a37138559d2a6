/** What an examination found, in plain words. */
export interface Finding {
  /** `warning`: uploads work, though not as well as they could. `fault`: they do not, or not always. */
  readonly level: 'ok' | 'warning' | 'fault'
  readonly text: string
  /** What to do about it. */
  readonly remedy?: string
}

export const ok = (text: string): Finding => ({ level: 'ok', text })
export const warning = (text: string, remedy: string): Finding => ({ level: 'warning', text, remedy })
export const fault = (text: string, remedy: string): Finding => ({ level: 'fault', text, remedy })
