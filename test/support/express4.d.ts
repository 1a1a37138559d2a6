/** The alias under which Express 4 is installed here. The types of Express 5 are close enough. */
declare module 'express4' {
  import express from 'express'
  export default express
}
